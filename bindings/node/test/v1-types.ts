// Is compiled by v1-types.test.js, and never run. A line after @ts-expect-error has to be wrong.
import * as diamond from '../v1';

async function main(): Promise<void> {
  class OwnCache implements diamond.CacheModule {
    private all = new Map<string, diamond.Fields>();
    message({ operation, data }: diamond.CacheMessage): unknown {
      const key = `${data.table.name} ${data.id}`;
      if (operation === 'STORE_RECORD') this.all.set(key, data.record);
      return diamond.utilities.operations.success(this.all.get(key) ?? null);
    }
  }
  const store = new diamond.Store('./data/');
  const db = new diamond.Database({ store, cache: new OwnCache() });
  await db.init({ persist: 100 });
  console.log(store.imported?.findings[0]?.why, db.tables['people']?.schema, new diamond.Cache({ size: 8 }));
  const made = await db.makeTable('people', { name: ['string', 15], age: ['number', 3] });
  if (made.operation === 'FAILURE') console.log(made.data.length);
  const saved = await db.saveRecord('people', { name: 'Abby', age: 29 });
  if (saved.operation === 'SUCCESS') {
    const id: number = saved.data._id;
    const name: string = saved.data.name;
    console.log(id, name);
    // @ts-expect-error
    console.log(saved.data.nmae);
  }
  const found = await db.fetchRecord<{ name: string; age: number | null }>('people', 0);
  if (found.operation === 'SUCCESS') console.log(found.data?.name.length);
  const port: ReturnType<typeof diamond.server> = diamond.server(db, { port: 0 });
  port.close();
  // @ts-expect-error
  await db.makeTable('people', { name: ['strnig', 15] });
  // @ts-expect-error
  await db.init({ persist: 'often' });
  // @ts-expect-error
  new diamond.Database({});
  // @ts-expect-error
  diamond.utilities.operations.storeRecord('people', {}, 0);
  const { schemaUtils, recordUtils, promisify } = diamond.utilities;
  const size: number = schemaUtils.schemaLength({ name: ['string', 15] });
  const back: diamond.Fields = recordUtils.parseRecord('Abby', { name: ['string', size] });
  console.log(back, promisify(setTimeout));
}

void main();
