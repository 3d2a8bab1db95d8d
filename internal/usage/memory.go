// Package usage measures what the running process uses.
package usage

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
)

// Anonymous is the resident memory, in bytes, that no file stands behind: heaps
// and, of a software driver, what would be the GPU's. 0 where the system does
// not tell (all but Linux).
func Anonymous() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var sum int64
	for line := range bytes.Lines(status) {
		for _, key := range []string{"RssAnon:", "RssShmem:"} {
			var kib int64
			if value, ok := bytes.CutPrefix(line, []byte(key)); ok {
				if _, err := fmt.Sscan(string(value), &kib); err == nil {
					sum += kib << 10
				}
			}
		}
	}
	return sum
}

// sampling is how often PeakAnonymous looks.
const sampling = 10 * time.Millisecond

// PeakAnonymous runs f and returns the most that Anonymous was meanwhile, as far
// as looking again and again shows, and f's error.
func PeakAnonymous(f func() error) (int64, error) {
	most := Anonymous()
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, Anonymous())
			case <-stop:
				return
			}
		}
	})
	err := f()
	close(stop)
	watch.Wait()
	return max(most, Anonymous()), err
}
