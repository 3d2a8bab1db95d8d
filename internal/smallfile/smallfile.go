// Package smallfile reads files that describe something, such as configs, which
// are small. A path can lead to anything: opening a pipe waits for its writer,
// reading a device may never end, and a sparse file takes more memory than there is.
package smallfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Unfit says why a file that is there was not read.
type Unfit string

func (u Unfit) Error() string { return string(u) }

// Read reads a regular file of at most limit bytes. Others are an [Unfit]. Errors
// do not name the file, unless the system's do.
func Read(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	return read(info, err, limit, func() (fs.File, error) { return os.Open(path) })
}

// ReadFS is Read of a file in fsys.
func ReadFS(fsys fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	return read(info, err, limit, func() (fs.File, error) { return fsys.Open(name) })
}

func read(info fs.FileInfo, err error, limit int64, open func() (fs.File, error)) ([]byte, error) {
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, Unfit("not a regular file")
	case info.Size() > limit:
		return nil, tooLarge(info.Size(), limit)
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // files of /proc say that they have 0 bytes
	if err == nil && int64(len(data)) > limit {
		err = tooLarge(int64(len(data)), limit)
	}
	return data, err
}

func tooLarge(size, limit int64) error {
	return Unfit(fmt.Sprintf("%d bytes, at most %d expected", size, limit))
}
