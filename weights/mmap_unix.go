//go:build unix

package weights

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int) (raw []byte, free func([]byte) error, err error) {
	raw, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return raw, unix.Munmap, err
}

// dropPages is advice only: the pages are read again where they are asked for.
func dropPages(raw []byte) { unix.Madvise(raw, unix.MADV_DONTNEED) }
