package gpu

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTuningIsKept for the device, a class of problems at a time: what one model
// was tuned for stays when another is tuned.
func TestTuningIsKept(t *testing.T) {
	for _, folder := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // of Linux, macOS and Windows
		t.Setenv(folder, t.TempDir())
	}
	d := open(t, Options{})
	assert.Nil(t, d.LoadTuning(), "nothing was measured")
	save := func(class, candidate string, seconds float64) {
		times := d.NewTuning()
		times.Add(class, candidate, seconds)
		_, err := times.Save()
		require.NoError(t, err)
	}
	save("a", "old", 1)
	save("b", "slow", 4)
	save("b", "quick", 2)
	assert.Equal(t, map[string]map[string]float64{"a": {"old": 1}, "b": {"quick": 2}}, d.LoadTuning().Seconds)

	other := d.NewTuning()
	other.Key = "another driver"
	other.Add("c", "any", 1)
	_, err := other.Save()
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, d.LoadTuning().Classes())
	assert.Equal(t, "quick", d.LoadTuning().Choose("b", []string{"slow", "quick"}))
	assert.Empty(t, d.LoadTuning().Choose("c", []string{"any"}), "measured on another driver")
}
