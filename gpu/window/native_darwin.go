package window

/*
#cgo CFLAGS: -x objective-c
#cgo LDFLAGS: -framework Cocoa -framework QuartzCore
#include <Cocoa/Cocoa.h>
#include <QuartzCore/CAMetalLayer.h>

// metal_layer makes the window's view one that Metal draws to.
static void *metal_layer(void *window) {
	NSView *view = ((NSWindow *)window).contentView;
	view.wantsLayer = YES;
	view.layer = [CAMetalLayer layer];
	return view.layer;
}
*/
import "C"

import (
	"github.com/go-gl/glfw/v3.3/glfw"
	"github.com/rajveermalviya/go-webgpu/wgpu"
)

func checkPresentable(*glfw.Window) error { return nil }

func surfaceDescriptor(w *glfw.Window) *wgpu.SurfaceDescriptor {
	return &wgpu.SurfaceDescriptor{MetalLayer: &wgpu.SurfaceDescriptorFromMetalLayer{
		Layer: C.metal_layer(w.GetCocoaWindow()),
	}}
}
