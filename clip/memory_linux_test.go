package clip

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// residentBytes is the memory that the process occupies, without garbage.
func residentBytes(t *testing.T) int {
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	var size, resident int
	_, err = fmt.Sscan(string(data), &size, &resident)
	require.NoError(t, err)
	return resident * os.Getpagesize()
}

func TestMemoryStaysFlat(t *testing.T) {
	encodes := 10_000
	if raceEnabled {
		encodes = 2_000 // five times slower, and just as telling
	}
	m := newModel(t, `{}`)
	images, texts := randomImages(m, 3), randomTexts(m, 3)
	early := 0
	for i := range encodes {
		var err error
		n := 1 + i/2%3
		if i%2 == 0 {
			_, err = m.EncodeImage(t.Context(), images.rows(0, n), true)
		} else {
			_, err = m.EncodeText(t.Context(), texts[:n], true)
		}
		require.NoError(t, err)
		if i == 500 {
			early = residentBytes(t)
		}
	}
	assert.LessOrEqual(t, residentBytes(t), early+20<<20)
}
