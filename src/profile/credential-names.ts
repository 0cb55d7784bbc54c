/**
 * Names that say that their value is a credential. Used where a value would end up readable: such a name may
 * not be expanded by `${…}`, and a literal under it is at least worth a warning.
 */

/** Counts and settings around tokens, and the shell's working directory. */
const HARMLESS =
  /(?:^|_)(?:MAX|MIN|NUM|N|INPUT|OUTPUT|PROMPT|COMPLETION|TOTAL)_TOKENS|TOKENI[SZ]|^(?:OLD)?PWD$/;

const TELLING =
  /TOKEN|SECRET|PASSW(?:OR)?D|PASSPHRASE|CREDENTIAL|(?:^|_)PWD$|(?:^|_)PAT$|(?:^|_)JWT|(?:^|_)KEY$|(?:API|ACCESS|PRIVATE)_?KEY/;

/** What providers and CI systems leave in an environment to fetch secrets with (design.md section 6). */
const OF_PROVIDERS =
  /^(?:OP_|ACTIONS_ID_TOKEN_|CI_JOB_JWT|AWS_CONTAINER_|AWS_WEB_IDENTITY_|IDENTITY_HEADER$)/;

/** A name that is used for nothing but credentials; narrower, for literals that look harmless themselves. */
const ONLY_CREDENTIALS =
  /(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PAT|(?:API|ACCESS|SECRET|PRIVATE)_?KEY)$/;

/** True for names that usually carry credentials: `*TOKEN*`, `*SECRET*`, `*PASSWORD*`, `*_KEY`, … */
export function carriesCredential(name: string): boolean {
  const upper = name.toUpperCase();
  if (OF_PROVIDERS.test(upper)) return true;
  return TELLING.test(upper.replace(HARMLESS, ""));
}

/** True for names that end in `TOKEN`, `SECRET`, `PASSWORD`, `API_KEY`, … */
export function namesOnlyCredentials(name: string): boolean {
  return ONLY_CREDENTIALS.test(name.toUpperCase());
}
