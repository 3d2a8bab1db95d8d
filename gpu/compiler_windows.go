package gpu

import "syscall"

// loads reports why a library cannot be loaded. One that can stays loaded: the WebGPU
// library is about to load it, and takes FXC without a word where it cannot.
func loads(path string) error {
	_, err := syscall.LoadLibrary(path)
	return err
}
