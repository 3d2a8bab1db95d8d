// Package window shows images on the screen, drawn by the GPU that a gpu.Device
// has open. On Linux it is empty unless it is built with -tags glfw, which takes
// the headers of X11.
package window
