package shaders

import (
	"errors"
	"io/fs"
	"os"

	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// folder is where the text of kernels is read from: a folder laid out like this one,
// where it has a file of the name, else the program's own files.
type folder struct{ dir string } // "" is none

// kernelFolder is the folder that wgsl=DIR in CLIPWGPU names, for people who edit a kernel
// and do not build the program again.
func kernelFolder() folder {
	d, _ := debug.Get() // gpu.Open refuses what cannot be read
	return folder{d.WGSL}
}

func (f folder) Open(name string) (fs.File, error) {
	if f.dir != "" {
		file, err := os.DirFS(f.dir).Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return files.Open(name)
}
