// Is compiled by types.test.js, and never run. A line after @ts-expect-error has to be wrong.
import * as diamonddb from '..';

async function main(): Promise<void> {
  await using db = await diamonddb.open('people.db', { durability: 'os', cacheBytes: 1 << 20 });
  const people = await db.makeTable('people', {
    name: ['string', 15, 'required'], age: ['number', 3], seen: ['timestamp'], raw: ['bytes', 4], on: ['bool'],
  });
  const id: number = await people.save({ name: 'Abby', age: 29, seen: new Date(), raw: new Uint8Array(4) });
  const found = people.fetch(id);
  if (found !== undefined) {
    const name: string = found.name;
    const age: number | null = found.age;
    const raw: Buffer | null = found.raw;
    console.log(name, age, raw, found.seen);
    // @ts-expect-error
    console.log(found.nmae);
    // @ts-expect-error
    const sure: number = found.age;
    console.log(sure);
  }
  // @ts-expect-error
  await people.save({ age: 3 });
  // @ts-expect-error
  await people.save({ name: 7 });
  // @ts-expect-error
  people.fetch('1');
  // @ts-expect-error
  await db.makeTable('x', { name: ['strnig', 3] });
  // @ts-expect-error
  await diamonddb.open('x', { durability: 'none' });

  const big = db.makeTableSync('big', { count: ['u64', 'required'] }, { int64: 'bigint' });
  const count: bigint | undefined = big.fetch(0)?.count;
  const numbers = db.makeTableSync('big', { count: ['u64', 'required'] });
  const small: number | undefined = numbers.fetch(0)?.count;
  console.log(count, small);

  for await (const [key, person] of people.scan({ reverse: true })) console.log(key + 1, person.name.length);
  for (const [key, { name }] of people) console.log(key, name);
  const ids: number[] = await db.batch().save(people, { name: 'Bob' }).delete(people, 3).commit();
  using pin = await people.pin();
  using view = pin.view();
  console.log(ids, view.getFloat64(view.at(0) + view.offsetOf('age')));
  // @ts-expect-error
  view.offsetOf('nobody');
  using then = db.snapshot();
  // @ts-expect-error
  then.openTable('people').saveSync({});

  class Cache implements diamonddb.Cache {
    private all = new Map<number, diamonddb.Change>();
    store(change: diamonddb.Change): void { this.all.set(change.id, change); }
    fetch(table: number, key: number): diamonddb.Found | undefined { return this.all.get(key + table); }
    clear(): void { this.all.clear(); }
  }
  const report: diamonddb.CheckReport = diamonddb.checkCache(new Cache());
  console.log(report.promises.length);
  try {
    await db.verify();
  } catch (error) {
    if (error instanceof diamonddb.DiamondError) console.log(error.code, error.status, error.report);
  }
}

void main();
