// Every method of @supabase/postgrest-js against a cluster with ../schema.sql and schema.sql, one replica by chance per request.
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import fs from 'node:fs'
import { after, before, test } from 'node:test'
import * as library from '@supabase/postgrest-js'
import { asked, client, tokens, urls } from './cluster.mjs'

const { PostgrestClient, PostgrestError } = library

// -- Which methods were called ---------------------------------------------------------------------------------------

const called = new Map() // "Class.method": how often

function watch(name, prototype) {
  for (const method of Object.getOwnPropertyNames(prototype)) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, method)
    if (method === 'constructor' || typeof descriptor.value !== 'function') {
      continue
    }
    const key = `${name}.${method}`
    const original = descriptor.value
    called.set(key, 0)
    Object.defineProperty(prototype, method, {
      ...descriptor,
      value(...values) {
        called.set(key, called.get(key) + 1)
        return original.apply(this, values)
      },
    })
  }
}

const overridden = new Set(['PostgrestBuilder.returns']) // by every builder that the client hands out

before(() => {
  for (const [name, value] of Object.entries(library)) {
    if (/^Postgrest\w*(Client|Builder)$/.test(name) && typeof value === 'function') {
      watch(name, value.prototype)
    }
  }
})

after(() => {
  const never = [...called].filter(([key, n]) => n === 0 && !overridden.has(key)).map(([key]) => key)
  assert.deepEqual(never, [], 'methods that no test calls')
  assert.ok(asked.every((n) => n > 0), `each replica was asked: ${asked}`)
})

// -- Helpers ---------------------------------------------------------------------------------------------------------

const db = client()

// The answer's data; an error fails the test.
async function data(query) {
  const answer = await query
  assert.equal(answer.error, null, JSON.stringify(answer.error))
  return answer.data
}

async function ids(query, column = 'id') {
  return (await data(query)).map((row) => row[column])
}

async function refused(query, status, code) {
  const answer = await query
  assert.equal(answer.data, null)
  assert.deepEqual([answer.status, answer.error?.code], [status, code], JSON.stringify(answer.error))
  return answer.error
}

const mechanics = () => db.from('mechanics').select('id').order('id')
const bikes = () => db.from('bikes').select('id').order('id')

// -- Reading ---------------------------------------------------------------------------------------------------------

test('select: all columns, some, aliases, casts, paths into JSON', async () => {
  assert.equal((await data(db.from('shops').select())).length, 4)
  assert.deepEqual(await data(db.from('shops').select('id, name').eq('id', 2)), [{ id: 2, name: 'Pedal Point' }])
  assert.deepEqual(await data(db.from('mechanics').select('key:id::text,meta->addr->>zip,level:meta->level').eq('id', 1)),
                   [{ key: '1', zip: '0150', level: 3 }])
  assert.deepEqual(await data(db.from('Odd Names').select('"the id","a.b","c,d(e)"').eq('"a.b"', 'dotted')),
                   [{ 'the id': 1, 'a.b': 'dotted', 'c,d(e)': 'comma' }])
})

test('select: count with and without rows', async () => {
  const counted = await db.from('shops').select('id', { count: 'exact' }).limit(2)
  assert.deepEqual([counted.count, counted.data.length, counted.status], [4, 2, 206])
  const head = await db.from('shops').select('*', { head: true, count: 'exact' })
  assert.deepEqual([head.count, head.data, head.error, head.status], [4, null, null, 200])
  assert.equal((await db.from('shops').select('*', { head: true, count: 'planned' })).count, 4)
  assert.equal((await db.from('shops').select('*', { count: 'estimated' })).count, 4)
  assert.equal((await db.from('shops').select('*')).count, null)
})

test('eq, neq, gt, gte, lt, lte', async () => {
  assert.deepEqual(await ids(mechanics().eq('full_name', 'Ada Berg')), [1])
  assert.deepEqual(await ids(mechanics().neq('id', 2)), [1, 3, 4])
  assert.deepEqual(await ids(mechanics().gt('hourly', 380.5)), [1])
  assert.deepEqual(await ids(mechanics().gte('hourly', 380.5)), [1, 2])
  assert.deepEqual(await ids(mechanics().lt('hourly', 380.5)), [4])
  assert.deepEqual(await ids(mechanics().lte('hourly', 380.5)), [2, 4])
  assert.deepEqual(await ids(db.from('shops').select('id').eq('name', 'Spoke, (North)')), [3])
})

test('like, ilike and their lists, regular expressions', async () => {
  assert.deepEqual(await ids(mechanics().like('full_name', '%g')), [1])
  assert.deepEqual(await ids(mechanics().ilike('full_name', 'ADA%')), [1])
  assert.deepEqual(await ids(mechanics().likeAllOf('full_name', ['%a%', 'B%'])), [2])
  assert.deepEqual(await ids(mechanics().likeAnyOf('full_name', ['Ada%', 'Cy%'])), [1, 3])
  assert.deepEqual(await ids(mechanics().ilikeAllOf('full_name', ['%A%', 'b%'])), [2])
  assert.deepEqual(await ids(mechanics().ilikeAnyOf('full_name', ['ada%', 'cy%'])), [1, 3])
  assert.deepEqual(await ids(mechanics().regexMatch('full_name', '^[AB]')), [1, 2])
  assert.deepEqual(await ids(mechanics().regexIMatch('full_name', '^[ab]')), [1, 2])
})

test('is, isDistinct, in, notIn', async () => {
  assert.deepEqual(await ids(mechanics().is('email', null)), [4])
  assert.deepEqual(await ids(bikes().is('electric', true)), [3, 4])
  assert.deepEqual(await ids(bikes().isDistinct('electric', 'true')), [1, 2, 5])
  assert.deepEqual(await ids(mechanics().in('id', [1, 4, 99])), [1, 4])
  assert.deepEqual(await ids(mechanics().in('id', [])), [])
  assert.deepEqual(await ids(db.from('shops').select('id').in('name', ['Spoke, (North)', 'Pedal Point', 'a"b']).order('id')), [2, 3])
  assert.deepEqual(await ids(mechanics().notIn('id', [1, 4])), [2, 3])
})

test('contains, containedBy, overlaps: arrays, JSON, ranges', async () => {
  assert.deepEqual(await ids(bikes().contains('tags', ['city'])), [1, 2])
  assert.deepEqual(await ids(bikes().contains('spec', { frame: { size: 'L' } })), [2])
  assert.deepEqual(await ids(bikes().contains('price', '[950,1000)')), [3])
  assert.deepEqual(await ids(bikes().containedBy('tags', ['city', 'red', 'race'])), [1, 5])
  assert.deepEqual(await ids(bikes().containedBy('price', '[100,400)')), [1, 2])
  assert.deepEqual(await ids(bikes().overlaps('tags', ['red', 'cargo'])), [1, 3])
  assert.deepEqual(await ids(bikes().overlaps('price', '[190,1000)')), [1, 2, 3])
})

test('rangeGt, rangeGte, rangeLt, rangeLte, rangeAdjacent', async () => {
  assert.deepEqual(await ids(bikes().rangeGt('price', '[100,300)')), [3, 5])
  assert.deepEqual(await ids(bikes().rangeGte('price', '[900,1000)')), [3, 5])
  assert.deepEqual(await ids(bikes().rangeLt('price', '[900,1500)')), [1, 2])
  assert.deepEqual(await ids(bikes().rangeLte('price', '[0,300)')), [1, 2])
  assert.deepEqual(await ids(bikes().rangeAdjacent('price', '[300,400)')), [2])
})

test('textSearch: all types, with and without a language', async () => {
  const articles = () => db.from('articles').select('id').order('id')
  assert.deepEqual(await ids(articles().textSearch('tsv', "'fix' & 'tyre'")), [1])
  assert.deepEqual(await ids(articles().textSearch('tsv', 'fixed tyres', { type: 'plain' })), [1])
  assert.deepEqual(await ids(articles().textSearch('tsv', 'flat tyre', { type: 'phrase', config: 'english' })), [1])
  assert.deepEqual(await ids(articles().textSearch('tsv', 'wheels or glue', { type: 'websearch', config: 'english' })), [1, 2, 3])
  assert.deepEqual(await ids(articles().textSearch('body', 'patience', { config: 'simple' })), [1])
})

test('match, not, or, filter, also on what is embedded', async () => {
  assert.deepEqual(await ids(mechanics().match({ shop_id: 1, full_name: 'Bo Dahl' })), [2])
  assert.deepEqual(await ids(mechanics().not('email', 'is', null)), [1, 2, 3])
  assert.deepEqual(await ids(mechanics().or('id.eq.1,and(shop_id.is.null,hourly.gt.100)')), [1, 4])
  assert.deepEqual(await ids(mechanics().filter('skills', 'cs', '{gears}')), [1, 3])
  const shops = await data(db.from('shops').select('id,mechanics(id)').or('id.eq.1,id.eq.4', { referencedTable: 'mechanics' }).order('id'))
  assert.deepEqual(shops.map((shop) => shop.mechanics), [[{ id: 1 }], [], [], []])
})

test('order, limit, range', async () => {
  assert.deepEqual(await ids(db.from('mechanics').select('id').order('hourly', { ascending: false, nullsFirst: true })), [3, 1, 2, 4])
  assert.deepEqual(await ids(db.from('mechanics').select('id').order('shop_id', { nullsFirst: false }).order('id', { ascending: false })), [2, 1, 3, 4])
  assert.deepEqual(await ids(mechanics().limit(2)), [1, 2])
  assert.deepEqual(await ids(mechanics().range(1, 2)), [2, 3])
  const shop = await data(db.from('shops').select('id,mechanics(id)').eq('id', 1)
    .order('id', { referencedTable: 'mechanics', ascending: false }).limit(1, { referencedTable: 'mechanics' }).single())
  assert.deepEqual(shop, { id: 1, mechanics: [{ id: 2 }] })
  assert.deepEqual(await data(db.from('shops').select('mechanics(id)').eq('id', 1)
    .order('id', { referencedTable: 'mechanics' }).range(1, 1, { referencedTable: 'mechanics' }).single()), { mechanics: [{ id: 2 }] })
})

test('embedding: to one, to many, through a junction, hints, inner, spread, of a computed column', async () => {
  assert.deepEqual(await data(db.from('mechanics').select('full_name,shops(name)').eq('id', 3).single()),
                   { full_name: 'Cy Eide', shops: { name: 'Pedal Point' } })
  assert.deepEqual(await data(db.from('repairs').select('bike_id,seq,parts(sku)').eq('bike_id', 1).eq('seq', 1).order('sku', { referencedTable: 'parts' }).single()),
                   { bike_id: 1, seq: 1, parts: [{ sku: 'CHN-9' }, { sku: 'TUB-28' }] })
  assert.deepEqual(await data(db.from('transfers').select('id,from:shops!transfers_from_fk(name),to:shops!transfers_to_fk(id)').eq('id', 1).single()),
                   { id: 1, from: { name: 'Chain & Co' }, to: { id: 2 } })
  assert.deepEqual(await ids(db.from('shops').select('id,mechanics!inner(id)').eq('mechanics.full_name', 'Cy Eide')), [2])
  assert.deepEqual(await data(db.from('mechanics').select('id,...shops(shop:name)').eq('id', 1).single()), { id: 1, shop: 'Chain & Co' })
  assert.deepEqual(await data(db.from('bikes').select('id,bike_label').eq('id', 1).single()), { id: 1, bike_label: 'Nord X1' })
  await refused(db.from('transfers').select('id,shops(name)'), 300, 'PGRST201')
  await refused(db.from('shops').select('id,parts(sku)'), 400, 'PGRST200')
})

test('aggregates, where a server allows them', async () => {
  assert.deepEqual(await data(db.from('bikes').select('brand,n:count(),weight_kg.max()').eq('brand', 'Elva')), [{ brand: 'Elva', n: 2, max: 25.0 }])
})

test('single and maybeSingle', async () => {
  assert.deepEqual(await data(mechanics().eq('id', 1).single()), { id: 1 })
  const none = await refused(mechanics().eq('id', 99).single(), 406, 'PGRST116')
  assert.equal(none.details, 'The result contains 0 rows')
  await refused(mechanics().single(), 406, 'PGRST116')
  assert.deepEqual(await data(mechanics().eq('id', 2).maybeSingle()), { id: 2 })
  assert.equal(await data(mechanics().eq('id', 99).maybeSingle()), null)
  await refused(mechanics().maybeSingle(), 406, 'PGRST116')
})

test('csv, stripNulls, geojson, explain', async () => {
  assert.equal(await data(db.from('shop_profile').select('shop_id,website').order('shop_id').csv()), 'shop_id,website\n1,https://chain.example\n2,')
  assert.deepEqual(await data(db.from('shop_profile').select('shop_id,website').order('shop_id').stripNulls()),
                   [{ shop_id: 1, website: 'https://chain.example' }, { shop_id: 2 }])
  assert.deepEqual(await data(db.from('shop_profile').select().eq('shop_id', 2).stripNulls().single()), { shop_id: 2, phone: '+47 2' })
  await refused(db.from('shops').select().geojson(), 406, 'PGRST107') // PostGIS is not there
  assert.match(await data(db.from('shops').select().explain()), /Scan on shops/)
  const [plan] = await data(db.from('shops').select().explain({ format: 'json', analyze: true, verbose: true }))
  assert.ok(plan.Plan['Actual Rows'] >= 1)
})

test('abortSignal, throwOnError, setHeader, retry, returns, overrideTypes', async () => {
  const aborted = await db.from('shops').select().abortSignal(AbortSignal.abort())
  assert.equal(aborted.status, 0)
  assert.match(aborted.error.message, /abort/i)
  await assert.rejects(async () => db.from('no_such_table').select().throwOnError(), (error) => error instanceof PostgrestError && error.code === 'PGRST205')
  await assert.rejects(async () => db.from('shops').insert({ id: 1, name: 'x' }).throwOnError(), { code: '23505' })
  assert.equal(await data(db.rpc('header_of', { h: 'x-flavour' }).setHeader('X-Flavour', 'mint')), 'mint')
  assert.equal((await data(db.from('shops').select().retry(false))).length, 4)
  assert.deepEqual(await data(mechanics().limit(1).returns()), [{ id: 1 }])
  assert.deepEqual(await data(mechanics().limit(1).single().returns()), { id: 1 })
  assert.deepEqual(await data(mechanics().limit(1).overrideTypes()), [{ id: 1 }])
})

test('schema: another one, and one that is not there', async () => {
  assert.deepEqual(await data(db.schema('tenant2').from('shops').select('id').eq('id', 100)), [{ id: 100 }])
  assert.deepEqual(await data(client(null, { schema: 'tenant2' }).from('shops').insert({ id: 201, name: 'Client' }).select()), [{ id: 201, name: 'Client' }])
  assert.deepEqual(await data(client(null, { schema: 'public' }).from('shops').select('id').eq('id', 1)), [{ id: 1 }])
  await refused(db.schema('internal').from('hidden').select(), 406, 'PGRST106')
})

test('views', async () => {
  assert.deepEqual(await data(db.from('shop_load').select('shop_id,mechanics').eq('shop_id', 1)), [{ shop_id: 1, mechanics: 2 }])
  assert.deepEqual(await data(db.from('open_repairs').select().eq('bike_id', 1)), [{ bike_id: 1, seq: 2, mechanic_id: 2, minutes: 0 }])
})

// -- Writing: strong tables ------------------------------------------------------------------------------------------

test('insert: one, many, with the rows, counted, with defaults', async () => {
  const quiet = await db.from('parts').insert({ sku: 'C-1', label: 'one' })
  assert.deepEqual([quiet.status, quiet.data, quiet.error], [201, null, null])
  assert.deepEqual(await data(db.from('parts').insert([{ sku: 'C-2', label: 'two', stock: 2 }, { sku: 'C-3', label: 'three', stock: 3 }]).select('sku,stock')),
                   [{ sku: 'C-2', stock: 2 }, { sku: 'C-3', stock: 3 }])
  const counted = await db.from('parts').insert([{ sku: 'C-4', label: 'four' }, { sku: 'C-5', label: 'five', stock: 5 }], { count: 'exact', defaultToNull: false }).select()
  assert.deepEqual([counted.count, counted.data.map((row) => row.stock)], [2, [10, 5]])
  await refused(db.from('parts').insert([{ sku: 'C-6', label: 'six' }, { sku: 'C-7', label: 'seven', stock: 7 }]), 400, '23502') // an explicit null
  assert.deepEqual(await data(db.from('parts').select('sku').in('sku', ['C-6', 'C-7'])), [])
  assert.equal((await db.from('parts').insert([])).status, 201)
  const ticket = await data(db.from('tickets').insert({ code: 'C-9' }).select().single())
  assert.deepEqual([ticket.priority, ticket.labels, typeof ticket.id], [3, [], 'number'])
})

test('insert: what PostgreSQL refuses has its code and status', async () => {
  await refused(db.from('parts').insert({ sku: 'CHN-9', label: 'again' }), 409, '23505')
  await refused(db.from('parts').insert({ sku: 'C-8', label: 'less', stock: -1 }), 400, '23514')
  await refused(db.from('repair_parts').insert({ bike_id: 1, seq: 1, sku: 'nothing' }), 409, '23503')
  await refused(db.from('parts').insert({ sku: 'C-8', label: 'eight', colour: 'red' }), 400, 'PGRST204')
  await refused(db.from('parts').insert({ sku: 'C-8', label: 'eight', stock: 'many' }), 400, '22P02')
  await refused(db.from('no_such_table').insert({ a: 1 }), 404, 'PGRST205')
})

test('upsert: merge, ignore, on other columns', async () => {
  const fresh = await db.from('counters').upsert({ name: 'client', val: 1 }).select()
  assert.deepEqual([fresh.status, fresh.data], [201, [{ name: 'client', val: 1 }]])
  const merged = await db.from('counters').upsert([{ name: 'client', val: 2 }], { count: 'exact' }).select()
  assert.deepEqual([merged.status, merged.count, merged.data], [200, 1, [{ name: 'client', val: 2 }]])
  assert.deepEqual(await data(db.from('counters').upsert([{ name: 'client', val: 3 }, { name: 'client 2', val: 3 }], { ignoreDuplicates: true }).select()),
                   [{ name: 'client 2', val: 3 }])
  await data(db.from('tickets').insert({ code: 'C-10', priority: 5 }))
  assert.deepEqual(await data(db.from('tickets').upsert({ code: 'C-10', body: 'text' }, { onConflict: 'code', defaultToNull: false }).select('code,priority,body')),
                   [{ code: 'C-10', priority: 5, body: 'text' }])
  await refused(db.from('tickets').upsert({ code: 'C-10' }, { onConflict: 'body' }), 400, '42P10')
})

test('update and delete', async () => {
  await data(db.from('parts').insert([{ sku: 'U-1', label: 'one' }, { sku: 'U-2', label: 'two' }]))
  assert.deepEqual(await data(db.from('parts').update({ stock: 4 }).like('sku', 'U-%').order('sku').select('sku,stock')),
                   [{ sku: 'U-1', stock: 4 }, { sku: 'U-2', stock: 4 }])
  const counted = await db.from('parts').update({ stock: 5 }, { count: 'exact' }).eq('sku', 'U-1')
  assert.deepEqual([counted.status, counted.count, counted.data], [204, 1, null])
  assert.deepEqual(await data(db.from('parts').update({ stock: 5 }).eq('sku', 'nothing').select()), [])
  const deleted = await db.from('parts').delete({ count: 'exact' }).eq('sku', 'U-1')
  assert.deepEqual([deleted.status, deleted.count], [204, 1])
  assert.deepEqual(await data(db.from('parts').delete().eq('sku', 'U-2').select('sku')), [{ sku: 'U-2' }])
  assert.deepEqual(await data(db.from('parts').select().like('sku', 'U-%')), [])
  await refused(db.from('parts').delete(), 400, '21000')
})

test('maxAffected and rollback leave everything as it was', async () => {
  await refused(db.from('parts').update({ unit_price: 1 }).gte('stock', 0).maxAffected(1), 400, 'PGRST124')
  assert.deepEqual(await data(db.from('parts').update({ unit_price: 6 }).eq('sku', 'BRK-1').maxAffected(1).select('unit_price')), [{ unit_price: 6 }])
  assert.deepEqual(await data(db.from('parts').update({ unit_price: 7 }).eq('sku', 'BRK-1').rollback().select('unit_price')), [{ unit_price: 7 }])
  assert.deepEqual(await data(db.from('parts').select('unit_price').eq('sku', 'BRK-1')), [{ unit_price: 6 }])
})

test('a strong write is read at once at any replica, without a session', async () => {
  for (let n = 0; n < 10; n++) {
    await data(db.from('counters').upsert({ name: 'seen', val: n }))
    assert.deepEqual(await data(db.from('counters').select('val').eq('name', 'seen').single()), { val: n })
  }
})

// -- Writing: weak tables --------------------------------------------------------------------------------------------

test('a weak table takes the same calls; with the session a client sees what it did at any replica', async () => {
  const weak = client(null, { follows: true })
  const presence = () => weak.from('presence')
  const inserted = await presence().insert([{ user_id: 'ann', status: 'here' }, { user_id: 'bob', status: 'away', visits: 2 }], { defaultToNull: false }).select('user_id,visits')
  assert.deepEqual([inserted.status, inserted.data], [201, [{ user_id: 'ann', visits: 0 }, { user_id: 'bob', visits: 2 }]], JSON.stringify(inserted.error))
  assert.ok(weak.session.token)
  for (let n = 0; n < 10; n++) {
    await data(presence().update({ visits: n }).eq('user_id', 'ann'))
    assert.deepEqual(await data(presence().select('visits').eq('user_id', 'ann').single()), { visits: n })
  }
  assert.deepEqual(await data(presence().upsert({ user_id: 'ann', place: 'Oslo' }).select('user_id,status,place,visits')),
                   [{ user_id: 'ann', status: 'here', place: 'Oslo', visits: 9 }])
  assert.deepEqual(await data(presence().upsert([{ user_id: 'bob', status: 'no' }, { user_id: 'cy', status: 'new' }], { ignoreDuplicates: true, defaultToNull: false }).select('user_id')),
                   [{ user_id: 'cy' }])
  const counted = await presence().select('user_id', { count: 'exact' }).order('user_id').range(0, 1)
  assert.deepEqual([counted.count, counted.data], [3, [{ user_id: 'ann' }, { user_id: 'bob' }]])
  assert.deepEqual(await data(presence().delete().eq('user_id', 'cy').select('user_id,status')), [{ user_id: 'cy', status: 'new' }])
  assert.deepEqual(await ids(presence().select('user_id').order('user_id'), 'user_id'), ['ann', 'bob'])
  await refused(presence().insert({ user_id: 'ann' }), 409, '23505')
})

// -- Functions -------------------------------------------------------------------------------------------------------

test('rpc: values, rows, nothing; by POST, GET and HEAD', async () => {
  assert.equal(await data(db.rpc('add_numbers', { a: 2, b: 3 })), 5)
  assert.equal(await data(db.rpc('add_numbers', { a: 2, b: 3 }, { get: true })), 5)
  assert.equal(await data(db.rpc('greet')), 'hi nobody')
  assert.equal(await data(db.rpc('null_int')), null)
  const nothing = await db.rpc('do_nothing')
  assert.deepEqual([nothing.status, nothing.data], [204, null])
  assert.deepEqual(await data(db.rpc('part_names', {}, { get: true }).limit(1)).then((names) => typeof names[0]), 'string')
  assert.deepEqual(await data(db.rpc('heavy_bikes', { min_kg: 14 }).select('id').gt('id', 2).order('id', { ascending: false }).limit(2)), [{ id: 4 }, { id: 3 }])
  assert.deepEqual(Object.keys(await data(db.rpc('min_max'))), ['lo', 'hi'])
  assert.equal(await data(db.rpc('sum_all', { v: [1, 2, 3] })), 6)
  await refused(db.rpc('sum_all', { v: [1, 2, 3] }, { get: true }), 400, '22P02') // as PostgREST: VARIADIC wants the name repeated
  const counted = await db.rpc('heavy_bikes', { min_kg: 14 }, { head: true, count: 'exact' })
  assert.deepEqual([counted.count, counted.data], [3, null])
})

test('rpc: a function that writes does so everywhere, and only by POST', async () => {
  assert.equal(await data(db.rpc('bump', { counter: 'client hits' })), 1)
  assert.equal(await data(db.rpc('bump', { counter: 'client hits', step: 4 })), 5)
  assert.deepEqual(await data(db.from('counters').select('val').eq('name', 'client hits').single()), { val: 5 })
  await refused(db.rpc('bump', { counter: 'client hits' }, { get: true }), 405, '25006')
  await refused(db.rpc('no_such_function'), 404, 'PGRST202')
})

test('rpc: a function of weak tables writes at the replica that is asked, and reaches the others', async () => {
  const db = client(null, { follows: true })
  assert.equal((await data(db.rpc('check_in', { who: 'eva', here: 'Oslo' }).single())).visits, 1)
  const [again] = await data(db.rpc('check_in', { who: 'eva', here: 'Bergen' }).select('place,visits'))
  assert.deepEqual(again, { place: 'Bergen', visits: 2 })
  for (let n = 0; n < 6; n++) {
    assert.deepEqual(await data(db.from('presence').select('place,visits').eq('user_id', 'eva')), [{ place: 'Bergen', visits: 2 }])
    assert.equal(await data(db.rpc('where_is', { who: 'eva' })), 'Bergen')
  }
  await data(db.rpc('check_in', { who: 'eva', here: 'Oslo' }).setHeader('Prefer', 'durability=majority'))
  assert.equal(db.session.last.headers.get('Preference-Applied'), 'durability=majority')
  await data(db.rpc('where_is', { who: 'eva' }).setHeader('Prefer', 'durability=majority'))
  assert.equal(db.session.last.headers.get('Preference-Applied'), null)
  assert.equal(await data(db.rpc('check_out', { who: 'eva' })), 1)
  assert.deepEqual(await data(db.from('presence').select('place').eq('user_id', 'eva')), [])
  assert.equal(await data(db.rpc('check_out', { who: 'eva' })), 0)
})

test('rpc: a function that writes both weak and strong tables is refused, and changes nothing', async () => {
  for (const name of ['mixed', 'mixed_weak']) {
    const { error } = await client().rpc(name, { who: name })
    assert.equal(error.code, 'CC303')
    assert.match(error.hint, /request of its own/)
    assert.deepEqual(await data(client().from('visits').select('id').eq('id', 500)), [])
    assert.deepEqual(await data(client().from('presence').select('user_id').eq('user_id', name)), [])
  }
})

test('rpc: errors that functions raise', async () => {
  const plain = await refused(db.rpc('fail_plain'), 400, 'P0001')
  assert.deepEqual([plain.message, plain.details, plain.hint], ['workshop closed', 'come back tomorrow', 'ring the bell'])
  await refused(db.rpc('fail_status', { http: 402 }), 402, 'PT402')
  await refused(db.rpc('fail_full'), 429, 'APP7')
  const teapot = await db.rpc('teapot', {}, { get: true })
  assert.equal(teapot.status, 418)
})

// -- Identity --------------------------------------------------------------------------------------------------------

test('a token decides which rows there are', async () => {
  const ann = client('ann')
  const bob = client('bob')
  assert.deepEqual(await data(ann.from('diary').insert({ id: 1, words: 'dear me' }).select()), [{ id: 1, owner: 'ann', words: 'dear me' }])
  assert.deepEqual(await data(bob.from('diary').insert({ id: 2, words: 'oh dear' }).select('owner')), [{ owner: 'bob' }])
  assert.deepEqual(await ids(ann.from('diary').select('id')), [1])
  assert.deepEqual(await ids(bob.from('diary').select('id')), [2])
  assert.deepEqual(await data(ann.from('diary').update({ words: 'mine' }).eq('id', 2).select()), [])
  await refused(ann.from('diary').insert({ id: 3, owner: 'bob', words: 'forged' }), 403, '42501')
  await refused(db.from('diary').select(), 401, '42501')
  assert.equal((await data(ann.rpc('turn_page', { page: 4, line: 'next' }))).owner, 'ann')
  assert.deepEqual(await ids(ann.rpc('pages', { at_least: 2 })), [4])
  assert.deepEqual(await ids(bob.rpc('pages', {}, { get: true })), [2])
  assert.deepEqual(await data(ann.rpc('whoami')), { role: 'h1_member', sub: 'ann', method: 'POST', path: '/rpc/whoami' })
})

test('requests of different people do not mix, however many are under way', async () => {
  const people = ['ann', 'bob', null]
  const clients = people.map((who) => client(who))
  await Promise.all(Array.from({ length: 120 }, async (_, n) => {
    const who = people[n % 3]
    const me = await data(clients[n % 3].rpc('whoami', {}, { get: n % 2 === 0 }))
    assert.deepEqual([me.role, me.sub], [who ? 'h1_member' : 'h1_anon', who])
    if (who) {
      assert.ok((await data(clients[n % 3].from('diary').select('owner'))).every((row) => row.owner === who))
    }
  }))
})

test('bad tokens are refused', async () => {
  await refused(client('expired').from('shops').select(), 401, 'PGRST303')
  await refused(client('forged').from('shops').select(), 401, 'PGRST301')
  await refused(client('unsigned').from('shops').select(), 401, 'PGRST301')
  await refused(client('superuser').from('shops').select(), 403, '42501')
  await refused(client('unknown_role').from('shops').select(), 401, '22023')
  const last = client('expired')
  await last.from('shops').select()
  assert.equal(last.session.last.headers.get('WWW-Authenticate'), 'Bearer error="invalid_token", error_description="JWT expired"')
})

test('SQL that gets into a function that reads finds no way to more rights', async () => {
  const run = (one, other) => client('ann').rpc('run', { one, other }, { get: true })
  assert.equal(await data(run('SELECT current_user')), 'h1_member')
  const reset = "SELECT set_config('role', 'none', false)"
  assert.equal(await data(run(reset, 'SELECT current_user')), 'caucus_authenticator')
  await refused(run(reset, 'SELECT secret FROM treasure'), 403, '42501')
  await refused(run('SET ROLE postgres', 'SELECT 1'), 403, '42501')
  await refused(run('SET SESSION AUTHORIZATION postgres', 'SELECT 1'), 403, '42501')
  await refused(run("INSERT INTO shops VALUES (1000, 'x') RETURNING name"), 405, '25006')
  // Not even in a later request on the same connection, whatever is left behind there.
  const open = ["SELECT set_config('default_transaction_read_only', 'off', false)", "SELECT set_config('caucus.writer', 'on', false)"]
  await Promise.all(Array.from({ length: 24 }, () => data(run(...open))))
  const steal = await Promise.all(Array.from({ length: 24 }, () => run("INSERT INTO shops VALUES (1000, 'x') RETURNING name")))
  assert.ok(steal.every((answer) => ['25006', '42501'].includes(answer.error?.code)), JSON.stringify(steal.map((answer) => answer.error)))
  await Promise.all(Array.from({ length: 24 }, () => data(run(open[0], "SELECT set_config('search_path', 'internal', false)"))))
  const hide = await Promise.all(Array.from({ length: 24 }, () => run('CREATE TEMP TABLE shops AS SELECT 1 AS id', 'SELECT 1')))
  assert.ok(hide.every((answer) => answer.error?.code === '25006'), JSON.stringify(hide.map((answer) => answer.error)))
  assert.equal(await data(client('ann').rpc('run', { one: "SELECT current_setting('search_path')" }, { get: true })), '"public", "tenant2"')
  assert.equal(await data(client('ann').rpc('whoami').select('role').single()).then((me) => me.role), 'h1_member')
})

// A token signed with one of ../test_keys.json, whose private parts are there for the tests.
function signed(algorithm, claims) {
  const jwk = JSON.parse(fs.readFileSync(process.env.CAUCUS_TEST_KEYS)).keys.find((key) => key.alg === algorithm)
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${encode({ alg: algorithm, kid: jwk.kid })}.${encode(claims)}`
  const key = { key: crypto.createPrivateKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }
  return `${text}.${crypto.sign(algorithm === 'EdDSA' ? null : 'sha256', text, key).toString('base64url')}`
}

test('tokens signed with EdDSA, RS256 and ES256', async () => {
  for (const algorithm of ['EdDSA', 'RS256', 'ES256']) {
    const token = signed(algorithm, { role: 'h1_member', sub: algorithm })
    const somebody = client(null, { headers: { Authorization: `Bearer ${token}` } })
    assert.equal((await data(somebody.rpc('whoami'))).sub, algorithm)
    const changed = client(null, { headers: { Authorization: `Bearer ${token.slice(0, -8)}AAAAAAAA` } })
    await refused(changed.rpc('whoami'), 401, 'PGRST301')
  }
})

test('a transaction runs as who sends it', async () => {
  const operations = [{ method: 'POST', path: '/diary', headers: { Prefer: 'return=representation' }, body: { id: 10, words: 'all' } },
                      { method: 'PATCH', path: '/diary?id=eq.10', body: { words: 'or none' } }]
  const send = (who) => fetch(`${urls[0]}/_caucus/transaction`, {
    method: 'POST', body: JSON.stringify({ operations }),
    headers: { 'Content-Type': 'application/json', ...(who ? { Authorization: `Bearer ${tokens[who]}` } : {}) },
  })
  assert.equal((await send(null)).status, 401)
  const answer = await send('ann')
  const answers = await answer.json()
  assert.equal(answer.status, 200, JSON.stringify(answers))
  assert.deepEqual(answers[0].body, [{ id: 10, owner: 'ann', words: 'all' }])
  assert.deepEqual(await data(client('ann').from('diary').select('words').eq('id', 10)), [{ words: 'or none' }])
  assert.deepEqual(await data(client('bob').from('diary').select('words').eq('id', 10)), [])
})

test('code in the database sees what the request was', async () => {
  const browser = client(null, { headers: { 'User-Agent': 'conformance', Cookie: 'theme=dark; other=1' } })
  assert.deepEqual(await data(browser.from('visits').insert({ id: 1 }).select('method,path,agent,theme')),
                   [{ method: 'POST', path: '/visits', agent: 'conformance', theme: 'dark' }])
})

// -- The description -------------------------------------------------------------------------------------------------

// Every reference of a document leads somewhere.
function checkReferences(document, part) {
  for (const [key, value] of Object.entries(part ?? {})) {
    if (key === '$ref') {
      const path = decodeURIComponent(value.slice(2)).split('/').map((name) => name.replace(/~1/g, '/').replace(/~0/g, '~'))
      assert.ok(path.reduce((at, name) => at?.[name], document), value)
    } else if (typeof value === 'object') {
      checkReferences(document, value)
    }
  }
}

test('the description as OpenAPI 2.0 and 3.1, with the class of each table', async () => {
  for (const [accept, version, schemas] of [['*/*', 'swagger', 'definitions'], ['application/vnd.oai.openapi+json', 'openapi', 'components']]) {
    const answer = await fetch(urls[1] + '/', { headers: { Accept: accept } })
    const document = await answer.json()
    assert.equal(document[version], version === 'swagger' ? '2.0' : '3.1.0')
    checkReferences(document, document)
    const tables = schemas === 'definitions' ? document.definitions : document.components.schemas
    assert.equal(tables.presence['x-caucus-consistency'], 'weak')
    assert.equal(tables.shops['x-caucus-consistency'], 'strong')
    assert.equal(document.paths['/presence']['x-caucus-consistency'], 'weak')
    assert.equal(document.paths['/rpc/check_in']['x-caucus-consistency'], 'weak')
    assert.equal(document.paths['/rpc/whoami']['x-caucus-consistency'], 'strong')
    assert.deepEqual(tables.repairs.properties.status.enum, ['open', 'in_progress', 'done'])
    assert.deepEqual([tables.tickets.properties.priority.default, tables.parts.required], [3, ['sku', 'label']])
    assert.match(tables.repair_parts.properties.sku.description, /<fk table='parts' column='sku'\/>/)
  }
})

test('the description and the types tell a role what it may use, and an operator everything', async () => {
  const text = async (path, who) => {
    const answer = await fetch(urls[2] + path, { headers: who ? { Authorization: `Bearer ${tokens[who]}` } : {} })
    assert.equal(answer.status, 200)
    return answer.text()
  }
  for (const path of ['/', '/_caucus/types.ts', '/_caucus/types.js']) {
    const [nobody, ann, operator] = [await text(path), await text(path, 'ann'), await text(path, 'operator')]
    for (const [seen, name] of [[nobody, 'shops'], [ann, 'diary'], [ann, 'turn_page'], [operator, 'diary'], [operator, 'treasure']]) {
      assert.match(seen, new RegExp(name), `${path}: ${name}`)
    }
    for (const [hidden, name] of [[nobody, 'diary'], [nobody, 'turn_page'], [ann, 'treasure'], [nobody, 'treasure']]) {
      assert.doesNotMatch(hidden, new RegExp(`\\b${name}\\b`), `${path}: ${name}`)
    }
  }
})

test('getOpenApiSpec, without the prefix of supabase, too', async () => {
  const spec = await data(client(null, { prefix: '' }).getOpenApiSpec())
  assert.ok(spec.paths['/shops'])
  const other = await data(client().getOpenApiSpec())
  assert.ok(other.paths['/rpc/bump'])
  assert.equal((await data(new PostgrestClient(process.env.CAUCUS_URLS.split(' ')[0]).from('shops').select())).length, 4)
})
