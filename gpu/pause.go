//go:build !windows

package gpu

// #include <time.h>
// static void pause_ns(long ns) {
// 	struct timespec t = {.tv_nsec = ns};
// 	nanosleep(&t, NULL);
// }
import "C"

import "time"

// pause sleeps for d, of less than a second: time.Sleep takes a millisecond or more in a
// process with nothing else to do, because Go's poller counts in these.
func pause(d time.Duration) { C.pause_ns(C.long(d)) }
