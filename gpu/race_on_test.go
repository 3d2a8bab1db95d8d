//go:build race

package gpu

// race: the race detector watches this test binary.
const race = true
