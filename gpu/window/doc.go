// Package window shows scenes on the screen, drawn by the GPU that a gpu.Device has
// open, and tells what its user does. On Linux it has nothing but the events unless it
// is built with -tags glfw, which takes the headers of X11.
package window
