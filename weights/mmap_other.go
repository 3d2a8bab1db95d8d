//go:build !unix && !windows

package weights

import (
	"io"
	"os"
)

// mapFile reads the whole file where there is no way to map it.
func mapFile(f *os.File, size int) (raw []byte, free func([]byte) error, err error) {
	raw = make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, int64(size)), raw)
	return raw, func([]byte) error { return nil }, err
}

func dropPages([]byte) {}
