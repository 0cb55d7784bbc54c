/** How long something works, whatever else the machine has to do meanwhile. */

/** Ms that this process has had of the processors so far. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
