package weights

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func mapFile(f *os.File, size int) (raw []byte, free func([]byte) error, err error) {
	section, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	// The view keeps the section alive.
	defer windows.CloseHandle(section)
	addr, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// The address is no Go memory; going through its location keeps vet from
	// taking it for a pointer made out of a stale uintptr.
	start := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	unmap := func([]byte) error { return windows.UnmapViewOfFile(addr) }
	return unsafe.Slice((*byte)(start), size), unmap, nil
}

func dropPages([]byte) {}
