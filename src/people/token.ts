import { sha256 } from "../crypto/digest.ts";
import { randomBase62, toHex } from "../crypto/random.ts";

/** 43 characters of base 62 encode 256 bits. */
const TOKEN_LENGTH = 43;

/** A new random token, or with a shorter length an id, after a prefix. */
export const newToken = (prefix: string, length = TOKEN_LENGTH): string => `${prefix}${randomBase62(length)}`;

/** What the token of a command begins with, which a person has let in: no access token of an agent does. */
export const COMMAND_TOKEN_PREFIX = "pcl_";

/** The token of a command as it is stored: never what the hash of a cookie could be, so that neither is taken for the other. */
export const commandHashOf = async (token: string): Promise<string> => `command:${await hashOf(token)}`;

/** A token as it is stored: SHA-256 in hexadecimal. It has 256 random bits, so neither a slow hash nor a secret key is needed. */
export const hashOf = async (token: string): Promise<string> => toHex(await sha256(token));
