//go:build !windows

package gpu

import "os"

// loads reports why a library is not there. Only Windows loads it.
func loads(path string) error {
	_, err := os.Stat(path)
	return err
}
