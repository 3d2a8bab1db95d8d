// Package window shows images on the screen, drawn by the GPU that a gpu.Device
// has open. It is empty unless it is built with -tags glfw, which takes the
// headers of the system's window library: X11's on Linux.
package window
