package gpu

import "time"

// pause sleeps for d, or half a millisecond where that is more.
func pause(d time.Duration) { time.Sleep(d) }
