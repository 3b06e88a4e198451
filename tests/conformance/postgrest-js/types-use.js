// The same from plain JavaScript, by JSDoc. Never run.
import { PostgrestClient } from '@supabase/postgrest-js'

/** @typedef {import('./database.types.js').Database} Database */

/** @type {PostgrestClient<Database>} */
const db = new PostgrestClient('http://localhost:7101')

export async function main() {
  const { data } = await db.from('shops').select('id, name').single()
  /** @type {{ id: number, name: string } | null} */
  const shop = data
  // @ts-expect-error a number is no text
  shop.id.toUpperCase()
  // @ts-expect-error no such column
  await db.from('parts').insert({ sku: 'A', label: 'a', colour: 'red' })
  await db.from('presence').insert({ user_id: 'ann' })
  return shop
}

/** @type {Database['public']['Tables']['presence']['Consistency']} */
export const weak = 'weak'
/** @type {Database['public']['Tables']['shops']['Consistency']} */
// @ts-expect-error a strong table is not weak
export const strong = 'weak'
/** @type {import('./database.types.js').Json} */
export const json = { a: [1, { b: null }] }
