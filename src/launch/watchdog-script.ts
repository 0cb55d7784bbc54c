/**
 * The watchdog's program, for any POSIX sh (dash, bash, busybox). It reads lines from its stdin:
 *
 *   watch PID START group|tree    the launcher has started PID; START as in /proc, or - where unknown;
 *                                 `group`: it leads its own group and session; `tree`: only descendants count
 *   forget PID                    PID and all that came of it have gone
 *   bye                           the launcher ends as it should
 *
 * End of input without `bye` means that the launcher was killed. Then whoever is found is first stopped, so
 * that nobody forks while we look again, and killed when a look finds nobody new. A PID whose START does not
 * fit any more belongs to somebody else, and so does the group of that number.
 */
export const WATCHDOG_SCRIPT = `
trap '' HUP INT QUIT TERM PIPE USR1 USR2 TSTP
PATH=/usr/bin:/bin:/usr/sbin:/sbin
watched=
while read -r word pid start scope; do
  case $word in
    watch) watched="$watched $pid:$start:$scope" ;;
    forget)
      kept=
      for entry in $watched; do
        case $entry in "$pid":*) ;; *) kept="$kept $entry" ;; esac
      done
      watched=$kept
      ;;
    bye) exit 0 ;;
  esac
done

# Prints when PID started (field 22 of its stat; what stands before the last bracket is the program's choice).
start_of() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  set -- \${stat##*) }
  shift 19
  echo "$1"
}

# Prints PID:PARENT:GROUP:SESSION of every living process. A program's name may hold a newline: join its lines.
list_processes() {
  if [ -r /proc/self/stat ]; then
    sed -n ':again
      /) [A-Za-z]\\( -*[0-9]*\\)\\{20\\}/!{
        $!{
          N
          b again
        }
      }
      s/^\\([0-9]*\\) (.*) [^ZX] \\([0-9]*\\) \\([0-9]*\\) \\([0-9]*\\) .*/\\1:\\2:\\3:\\4/p' /proc/[0-9]*/stat
  else
    ps -A -o pid= -o ppid= -o pgid= -o stat= | while read -r pid parent group state; do
      case $state in Z*) ;; *) echo "$pid:$parent:$group:0" ;; esac
    done
  fi 2>/dev/null
}

# Adds to family everybody who belongs to it by group, session or parent.
grow_family() {
  size=-1
  while [ "$size" != "\${#family}" ]; do
    size=\${#family}
    for entry in $table; do
      pid=\${entry%%:*} rest=\${entry#*:}
      parent=\${rest%%:*} rest=\${rest#*:}
      group=\${rest%%:*} session=\${rest#*:}
      case $family in *" $pid "*) continue ;; esac
      case "$roots" in
        *" $pid "*) family="$family$pid "; continue ;;
      esac
      case "$groups" in
        *" $group "*|*" $session "*) family="$family$pid "; continue ;;
      esac
      case "$family" in
        *" $parent "*) family="$family$pid " ;;
      esac
    done
  done
}

roots=' ' groups=' ' family=' '
for entry in $watched; do
  pid=\${entry%%:*} rest=\${entry#*:}
  expected=\${rest%%:*} scope=\${rest#*:}
  if [ "$expected" != - ] && start=$(start_of "$pid") && [ "$start" != "$expected" ]; then continue; fi
  roots="$roots$pid "
  if [ "$scope" = group ]; then groups="$groups$pid "; fi
done
[ "$roots" = ' ' ] && exit 0

stopped=' ' round=0
while [ $round -lt 5 ]; do
  round=$((round + 1))
  table=$(list_processes)
  grow_family
  [ "$family" = "$stopped" ] && break
  for pid in $family; do
    case $stopped in *" $pid "*) ;; *) kill -STOP "$pid" ;; esac
  done
  stopped=$family
done
for pid in $family; do kill -KILL "$pid"; done
exit 0
`;
