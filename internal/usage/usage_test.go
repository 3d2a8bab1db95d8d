package usage

import (
	"errors"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestCPUCountsWorkOnly(t *testing.T) {
	before := CPU()
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
	}
	busy := CPU() - before
	assert.Positive(t, busy)
	before = CPU()
	time.Sleep(200 * time.Millisecond)
	assert.Less(t, CPU()-before, 100*time.Millisecond)
}

func TestPeakAnonymous(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	const size = 64 << 20
	failed := errors.New("failed")
	debug.FreeOSMemory() // of an earlier run of this test
	before := Anonymous()
	assert.Positive(t, before)
	peak, err := PeakAnonymous(func() error {
		block := make([]byte, size)
		for i := range block {
			block[i] = 1
		}
		time.Sleep(2 * sampling)
		runtime.KeepAlive(block)
		return failed
	})
	assert.Equal(t, failed, err)
	assert.GreaterOrEqual(t, peak, before+size/2)
}
