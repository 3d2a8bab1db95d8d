package window

// #include <windows.h>
import "C"

import (
	"unsafe"

	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/rajveermalviya/go-webgpu/wgpu"
)

func checkPresentable(*glfw.Window) error { return nil }

func surfaceDescriptor(w *glfw.Window) *wgpu.SurfaceDescriptor {
	return &wgpu.SurfaceDescriptor{WindowsHWND: &wgpu.SurfaceDescriptorFromWindowsHWND{
		Hinstance: unsafe.Pointer(C.GetModuleHandleW(nil)),
		Hwnd:      unsafe.Pointer(w.GetWin32Window()),
	}}
}
