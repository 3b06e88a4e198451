// The generated types as the client's generic parameter: what is right compiles, what is wrong does not. Never run.
import { PostgrestClient } from '@supabase/postgrest-js'
import type { Consistency, Database, StrongTable, TableName, WeakTable } from './database.types.js'

const db = new PostgrestClient<Database>('http://localhost:7101')

// A type is exactly another one.
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is = <T extends true>(): T | undefined => undefined

export async function reads() {
  const shops = await db.from('shops').select('id, name, city, active')
  is<Same<NonNullable<typeof shops.data>[number], { id: number; name: string; city: string | null; active: boolean }>>()

  const all = await db.from('bikes').select('*').single()
  const bike = all.data!
  is<Same<typeof bike.tags, string[] | null>>()
  is<Same<typeof bike.electric, boolean | null>>()
  // @ts-expect-error a computed column is not part of *
  bike.bike_label

  const labelled = await db.from('bikes').select('id, bike_label').single()
  is<Same<typeof labelled.data, { id: number; bike_label: string | null } | null>>()

  const embedded = await db.from('mechanics').select('full_name, shops(name)').single()
  is<Same<NonNullable<typeof embedded.data>['shops'], { name: string } | null>>()
  const many = await db.from('shops').select('id, mechanics(full_name), shop_profile(website)').single()
  is<Same<NonNullable<typeof many.data>['mechanics'], { full_name: string }[]>>()
  is<Same<NonNullable<typeof many.data>['shop_profile'], { website: string | null } | null>>()

  const repairs = await db.from('repairs').select('status').eq('status', 'in_progress').single()
  is<Same<NonNullable<typeof repairs.data>['status'], 'open' | 'in_progress' | 'done'>>()
  // @ts-expect-error no such label
  await db.from('repairs').select('status').eq('status', 'lost')
  // @ts-expect-error no such table
  await db.from('ships').select('id')

  const odd = await db.from('Odd Names').select('*').single()
  is<Same<NonNullable<typeof odd.data>['a.b'], string | null>>()
  await db.from('shop_load').select('mechanics')
  await db.schema('tenant2').from('shops').select('name')
  // @ts-expect-error that schema has no such table
  await db.schema('tenant2').from('bikes').select('id')
}

export async function writes() {
  await db.from('parts').insert({ sku: 'A', label: 'a' })
  await db.from('tickets').insert([{ code: 'A', labels: ['x'] }])
  await db.from('presence').upsert({ user_id: 'ann', status: null })
  await db.from('parts').update({ stock: 3 }).eq('sku', 'A').maxAffected(1)
  // @ts-expect-error a column without default is missing
  await db.from('parts').insert({ sku: 'A' })
  // @ts-expect-error wrong type
  await db.from('parts').insert({ sku: 'A', label: 7 })
  // @ts-expect-error a generated column is never written
  await db.from('articles').insert({ id: 1, title: 'a', tsv: 'a' })
  // @ts-expect-error a view that cannot be written
  await db.from('shop_load').insert({ shop_id: 1 })
}

export async function calls() {
  const sum = await db.rpc('add_numbers', { a: 1, b: 2 })
  is<Same<typeof sum.data, number | null>>()
  const rows = await db.rpc('heavy_bikes', { min_kg: 14 })
  rows.data?.[0]?.brand satisfies string | undefined
  await db.rpc('greet')
  await db.rpc('bump', { counter: 'a' })
  await db.rpc('do_nothing')
  // @ts-expect-error an argument is missing
  await db.rpc('add_numbers', { a: 1 })
}

// Strong and weak tables are different types.
is<Same<WeakTable, 'presence'>>()
is<'shops' extends StrongTable ? true : false>()
is<Same<Extract<StrongTable, WeakTable>, never>>()
is<Same<TableName, StrongTable | WeakTable>>()
is<Same<Database['public']['Tables']['presence']['Consistency'], 'weak'>>()
is<Same<Consistency, 'strong' | 'weak'>>()
export function onlyWeak(table: WeakTable) {
  return db.from(table).update({ seen_at: '2026-01-01' })
}
onlyWeak('presence')
// @ts-expect-error a strong table
onlyWeak('shops')
