/**
 * Finds credentials in plain text: the forms that issuers give theirs (public prefixes), keys, tokens and
 * passwords in known syntax, and long random values. Meant to have few false positives: ids, hashes, paths,
 * addresses, model and package names pass. Every search is bounded, so that a hostile text costs no more than
 * its length.
 */
import { looksRandom } from "./looks-random.ts";

export interface FoundCredential {
  /** Worded after «looks like ». */
  readonly what: string;
  readonly start: number;
  readonly end: number;
}

/** A form is looked for only where one of its anchors (in lower case) is: an `includes` costs a start nothing. */
const FORMS: readonly (readonly [what: string, anchors: readonly string[], form: RegExp])[] = [
  ["a private key", ["private key"], /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[\s\S]*/g],
  ["an age identity", ["age-secret-key-1"], /\bAGE-SECRET-KEY-1[A-Z0-9]*/gi],
  ["a JSON web token", ["eyj"], /\beyJ[\w-]{6,1024}\.eyJ[\w-]{6,}(?:\.[\w-]*)?/g],
  [
    "a GitHub token",
    ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
    /\b(?:gh[pousr]_[A-Za-z0-9]{6,}|github_pat_\w{6,})/g,
  ],
  ["a GitLab token", ["gl"], /\bgl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[\w.-]{8,}/g],
  ["a Slack token", ["xox", "xapp-", "xwfp-"], /\b(?:xox[a-z](?:\.xox[a-z])?|xapp|xwfp)-[\w-]{6,}/g],
  ["an AWS access key", ["akia", "asia", "abia", "acca"], /\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}\b/g],
  [
    "an API key",
    ["sk-", "sk_", "pk-", "pk_", "rk-", "rk_"],
    /\b(?:sk|pk|rk)[-_](?:live|test|prod)[-_]\w{8,}|\b(?:ctx7)?sk-(?:(?:proj|ant|or|svcacct|admin)-[\w-]{6,}|(?=[\w-]{0,99}\d)[\w-]{16,})/g,
  ],
  [
    "a Google credential",
    ["aiza", "ya29.", "gocspx-"],
    /\bAIza[\w-]{30,}|\bya29\.[\w-]{16,}|\bGOCSPX-[\w-]{10,}/g,
  ],
  ["a Vault token", ["hvs.", "hvb.", "hvr."], /\bhv[sbr]\.[\w-]{16,}/g],
  ["a Hugging Face token", ["hf_"], /\bhf_[A-Za-z0-9]{20,}/g],
  ["an npm token", ["npm_"], /\bnpm_[A-Za-z0-9]{24,}/g],
  ["a PyPI token", ["pypi-"], /\bpypi-[\w-]{24,}/g],
  ["a Stripe webhook secret", ["whsec_"], /\bwhsec_[A-Za-z0-9+/=]{16,}/g],
  ["a SendGrid key", ["sg."], /\bSG\.[\w-]{16,}\.[\w-]{16,}/g],
  ["a Slack webhook", ["hooks.slack"], /\bhooks\.slack\.com\/services\/\w+\/\w+\/\w+/g],
  ["a Discord webhook", ["/webhooks/"], /\bdiscord(?:app)?\.com\/api\/webhooks\/\d+\/[\w-]+/g],
  ["a Telegram bot token", [":aa"], /\b\d{8,10}:AA[\w-]{33}/g],
  [
    "an API token",
    "gsk_ pplx- xai- tvly- lin_api_ ntn_ figd_ dop_v1_ atatt3 atctt3 pmak- nrak- sbp_ sntrys_ sntryu_ glsa_ glc_ r8_ ops_eyj dp.pt. dp.st. dp.ct. shpat_ shpca_ shppa_ shpss_".split(
      " ",
    ),
    /\b(?:gsk_|pplx-|xai-|tvly-|lin_api_|ntn_|figd_|dop_v1_|ATATT3|ATCTT3|PMAK-|NRAK-|sbp_|sntry[su]_|glsa_|glc_|r8_|ops_eyJ|dp\.(?:pt|st|ct)\.|shp(?:at|ca|pa|ss)_)[\w=+/.-]{12,}/g,
  ],
  [
    "an authorization header",
    ["bearer", "basic"],
    /\b(?:Bearer|Basic)[ \t]+(?=[\w+/.~-]{0,99}\d)[\w+/.~-]{12,}=*/gi,
  ],
  [
    "a URL with a password",
    ["@"],
    /\b[a-z][a-z0-9+.-]{1,30}:\/\/[^\s/?#@:'"]{0,200}:(?![{\s])[^\s/?#@'"]{1,400}@/gi,
  ],
  [
    "a connection string with a password",
    ["password=", "pwd=", "key=", "token=", "secret="],
    /(?:^|[;?&\s])(?:password|pwd|accountkey|sharedaccesskey|access_token|api_?key|client_secret)=(?![{\s])[^;&\s{}'"]{6,}/gi,
  ],
];

/** A candidate for randomness: one unbroken run of what tokens are made of. */
const RUN = /[A-Za-z0-9+/_-]{20,}={0,2}/g;

const SHORTEST_RUN = 20;

const LONGEST_WORD = 1_024;

/** The first credential in `text`, in its order; undefined when there is none. */
export function findCredential(text: string): FoundCredential | undefined {
  return findCredentials(text)[0];
}

/** Every credential in `text`, by position; they may overlap. */
export function findCredentials(text: string): readonly FoundCredential[] {
  if (text.length < 8) return [];
  const lower = text.toLowerCase();
  const found = FORMS.flatMap(([what, anchors, form]) =>
    anchors.some((anchor) => lower.includes(anchor)) ? matches(what, form, text) : [],
  );
  if (text.length < SHORTEST_RUN) return found;
  for (const { start, end } of matches("", RUN, text)) {
    if (!isPartOfAddress(text, start) && looksRandom(text.slice(start, end)))
      found.push({ what: "a random value", start, end });
  }
  return found.length > 1 ? found.sort((a, b) => a.start - b.start) : found;
}

function matches(what: string, form: RegExp, text: string): FoundCredential[] {
  return Array.from(text.matchAll(form), (match) => ({
    what,
    start: match.index,
    end: match.index + match[0].length,
  }));
}

/** True if the word around `at` is a path, a URL, a package or an integrity hash: those hold long names. */
function isPartOfAddress(text: string, at: number): boolean {
  let start = at;
  while (start > Math.max(0, at - LONGEST_WORD) && !/[\s"'=,;()[\]{}<>|]/.test(text[start - 1] as string))
    start--;
  const word = text.slice(start, at + 8);
  return (
    /^(?:[/~.@\\]|[A-Za-z]:[\\/]|sha(?:1|256|384|512)-)/.test(word) || text.slice(start, at).includes("/")
  );
}
