//go:build !race

package clip

// raceEnabled tells whether the race detector is on.
const raceEnabled = false
