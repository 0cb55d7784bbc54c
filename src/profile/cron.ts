/** Cron lines: what is wrong with one, and its times. Loads the library only when it is asked. */

export interface CronLine {
  /** Five fields, or six with seconds in front. */
  readonly line: string;
  /** An IANA name; undefined for the machine's own. */
  readonly timezone?: string;
}

export interface CronMistake {
  /** A state, worded after «`cron`: ». */
  readonly message: string;
  /** Reads after «Try ». */
  readonly hint: string;
  /** The part of the line that is to blame. */
  readonly find?: string;
}

const FIELDS = [
  ["second", "`0` to `59`"],
  ["minute", "`0` to `59`"],
  ["hour", "`0` to `23`"],
  ["day of the month", "`1` to `31`"],
  ["month", "`1` to `12` or `JAN` to `DEC`"],
  ["day of the week", "`0` to `7` or `SUN` to `SAT`"],
] as const;

const MODE = "5-or-6-parts";

/**
 * The next time by wall clock, in ms, strictly after another; undefined when there is none. A time that the
 * clocks skip in spring is moved behind the gap; one that they repeat in autumn comes once, unless the line has
 * many times a day.
 *
 * @throws for a line that {@link cronMistake} refuses
 */
export async function cronTimes({
  line,
  timezone,
}: CronLine): Promise<(after: number) => number | undefined> {
  const { Cron } = await import("croner");
  const cron = new Cron(line, { mode: MODE, paused: true, ...(timezone !== undefined && { timezone }) });
  return (after) => {
    const next = cron.nextRun(new Date(after))?.getTime();
    return next !== undefined && next > after ? next : undefined;
  };
}

/** Undefined for a line that is well. Its time zone does not matter. */
export async function cronMistake(line: string): Promise<CronMistake | undefined> {
  const fields = line.trim().split(/\s+/);
  const names = fields.length === FIELDS.length ? FIELDS : FIELDS.slice(1);
  // The library would take `@daily` and a date as well.
  if (fields.length !== names.length)
    return {
      message: "it must have five fields (minute, hour, day, month, weekday), or six with seconds in front",
      hint: '`cron: "0 3 * * *"` for three in the morning',
    };
  const { Cron } = await import("croner");
  for (const [index, [name, range]] of names.entries()) {
    const field = fields[index] as string;
    try {
      new Cron(fields.map((_, at) => (at === index ? field : "*")).join(" "), { mode: MODE, paused: true });
    } catch {
      return {
        message: `its ${name} can't be read`,
        hint: `${range}, \`*\`, a range \`A-B\`, a list \`A,B\` or a step \`*/N\``,
        find: field,
      };
    }
  }
  const times = await cronTimes({ line, timezone: "UTC" });
  if (times(0) !== undefined) return undefined;
  return { message: "there is no such day in any year", hint: "a day that its month has" };
}

/** True for a name of the IANA database. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    // An offset such as `+01:00` is accepted by newer versions of Node.
    return /^[A-Za-z]/.test(name);
  } catch {
    return false;
  }
}
