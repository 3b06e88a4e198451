// The published client, whose every request goes to a replica chosen by chance.
import { PostgrestClient } from '@supabase/postgrest-js'

export const urls = process.env.CAUCUS_URLS.split(' ')
export const tokens = JSON.parse(process.env.CAUCUS_TOKENS) // by name: ann, bob, expired, ...

// mulberry32: small, seeded, good enough to choose replicas.
let state = Number(process.env.CAUCUS_SEED) >>> 0
function chance() {
  state = (state + 0x6d2b79f5) >>> 0
  let t = Math.imul(state ^ (state >>> 15), state | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const nowhere = 'http://replica.invalid'
export const asked = urls.map(() => 0) // requests per replica

// Sends each request to one of the replicas. With a session, what was seen at one replica is seen at the next one, too: for weak tables.
function scatter(session) {
  return async (resource, init) => {
    const replica = Math.floor(chance() * urls.length)
    asked[replica]++
    const headers = new Headers(init.headers)
    if (session.token) {
      headers.set('Caucus-Session', session.token)
    }
    const response = await fetch(String(resource).replace(nowhere, urls[replica]), { ...init, headers })
    session.token = session.follows ? response.headers.get('Caucus-Session') ?? session.token : null
    session.last = response
    return response
  }
}

// The client of somebody: a name of `tokens`, or nobody. It has the answer's headers in `session.last`.
export function client(who = null, { follows = false, prefix = '/rest/v1', ...options } = {}) {
  const session = { follows, token: null, last: null }
  const headers = who ? { Authorization: `Bearer ${tokens[who]}` } : {}
  const db = new PostgrestClient(nowhere + prefix, { ...options, headers: { ...headers, ...options.headers }, fetch: scatter(session) })
  db.session = session
  return db
}
