/**
 * At most `count` at once, begun in their order, with memory for those alone that are under way. After a failure no more are begun; it returns when those
 * under way have ended. @throws what the earliest of those that failed threw
 */
export async function inParallel<T>(
  items: Iterable<T>,
  count: number,
  use: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  let begun = 0;
  const failures: { index: number; error: unknown }[] = [];
  const worker = async (): Promise<void> => {
    while (failures.length === 0) {
      const next = queue.next();
      if (next.done === true) return;
      const index = begun++;
      try {
        await use(next.value, index);
      } catch (error) {
        failures.push({ index, error });
      }
    }
  };
  await Promise.all(Array.from({ length: count }, worker));
  if (failures.length > 0) throw failures.reduce((a, b) => (b.index < a.index ? b : a)).error;
}
