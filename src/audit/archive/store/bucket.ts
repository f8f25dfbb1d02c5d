import type { ArchiveObject } from "../object.ts";

/**
 * Puts an object into the archive, once: one that exists under this name stays as it is. Its name contains a digest of its records, so it
 * has the same.
 */
export async function putObject(bucket: R2Bucket, { name, content }: ArchiveObject): Promise<void> {
  await bucket.put(name, content, {
    onlyIf: { etagDoesNotMatch: "*" },
    httpMetadata: { contentType: "application/octet-stream" },
  });
}

/** The bytes of an object, or a range of them; null if it does not exist. */
export async function getObject(
  bucket: R2Bucket,
  name: string,
  range?: R2Range,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const found = await bucket.get(name, range && { range });
  return found && new Uint8Array(await found.arrayBuffer());
}

/** Deletes objects, at most 1,000. Deleting one that does not exist is no error. */
export const deleteObjects = (bucket: R2Bucket, names: readonly string[]): Promise<void> => bucket.delete([...names]);

/** Deletes up to 1,000 objects whose names begin with a prefix. Returns whether there are more. */
export async function deletePrefix(bucket: R2Bucket, prefix: string): Promise<boolean> {
  const { objects, truncated } = await bucket.list({ prefix, limit: 1000 });
  if (objects.length > 0) {
    await deleteObjects(
      bucket,
      objects.map(({ key }) => key),
    );
  }
  return truncated;
}
