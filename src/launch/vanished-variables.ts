/**
 * Names the variables that a client's own config sets for mcp-run and that the server will not see, so that
 * they do not vanish without a word. That is only decidable where the client hands on a reduced environment:
 * then everything beyond the default list is there on purpose.
 */
import { type AmbientEnvironment, defaultNames, type Environment, NameSet } from "./environment.ts";
import { isCredentialName } from "./withheld-names.ts";

/** Any one of these shows that a shell, a desktop, a container or an init system handed on its whole environment. */
const MARKS_OF_A_WHOLE_ENVIRONMENT = [
  ..."PWD OLDPWD SHLVL _ HOSTNAME TMPDIR LS_COLORS SSH_AUTH_SOCK".split(" "),
  ..."DISPLAY WAYLAND_DISPLAY XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS INVOCATION_ID NOTIFY_SOCKET XPC_SERVICE_NAME".split(
    " ",
  ),
  ..."COMSPEC PATHEXT ALLUSERSPROFILE".split(" "),
];

/** Set by the system under a client that sets nothing: libuv on Windows, CoreFoundation on macOS. */
const NOT_FROM_A_CONFIG = ["LOGONSERVER", "USERDOMAIN", "WINDIR", "__CF_USER_TEXT_ENCODING"];

/** A config with more variables than this is more likely somebody's whole environment. */
const MOST_VARIABLES_OF_A_CONFIG = 12;

/**
 * @param namesUsed what providers, `env:` refs and `${NAME}` have read: these did their work
 * @returns names in the client's spelling, sorted; empty also where it can't be decided
 */
export function variablesNotPassedOn(
  ambient: AmbientEnvironment,
  child: Environment,
  namesUsed: Iterable<string>,
  platform: NodeJS.Platform,
): readonly string[] {
  const marks = new NameSet(platform, MARKS_OF_A_WHOLE_ENVIRONMENT);
  const expected = new NameSet(platform, [...defaultNames(platform), ...NOT_FROM_A_CONFIG]);
  const names = Object.keys(ambient);
  if (names.some((name) => marks.has(name))) return [];
  const fromConfig = names.filter((name) => !expected.has(name));
  if (fromConfig.length > MOST_VARIABLES_OF_A_CONFIG) return [];
  const used = new NameSet(platform, namesUsed);
  const passedOn = new NameSet(platform, Object.keys(child));
  return fromConfig
    .filter((name) => !passedOn.has(name) && !used.has(name) && !isCredentialName(name, platform))
    .sort();
}
