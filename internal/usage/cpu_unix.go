//go:build unix

package usage

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the CPU time that all threads of the process have used.
func CPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
