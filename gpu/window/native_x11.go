//go:build glfw && !darwin && !windows

package window

import (
	"errors"
	"unsafe"

	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/rajveermalviya/go-webgpu/wgpu"
)

// checkPresentable finds out whether Vulkan knows X11: CreateSurface would abort.
func checkPresentable(w *glfw.Window) error {
	if len(w.GetRequiredInstanceExtensions()) == 0 {
		return errors.New("the Vulkan driver cannot draw to X11 windows")
	}
	return nil
}

func surfaceDescriptor(w *glfw.Window) *wgpu.SurfaceDescriptor {
	return &wgpu.SurfaceDescriptor{XlibWindow: &wgpu.SurfaceDescriptorFromXlibWindow{
		Display: unsafe.Pointer(glfw.GetX11Display()),
		Window:  uint32(w.GetX11Window()),
	}}
}
