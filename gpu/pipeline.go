package gpu

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// pipeline is a compiled kernel. A device keeps it to its end.
type pipeline struct {
	*wgpu.ComputePipeline
	bindings *wgpu.BindGroupLayout
	layout   *wgpu.PipelineLayout
	module   *wgpu.ShaderModule
}

// release frees what a failed or finished pipeline holds.
func (p *pipeline) release() {
	if p.ComputePipeline != nil {
		p.ComputePipeline.Release()
	}
	if p.layout != nil {
		p.layout.Release()
	}
	if p.bindings != nil {
		p.bindings.Release()
	}
	if p.module != nil {
		p.module.Release()
	}
}

// pipeline compiles k, once per device. The caller is inside call.
func (c *core) pipeline(k *shaders.Kernel) (*pipeline, error) {
	if p := c.pipelines[k.WGSL]; p != nil {
		return p, nil
	}
	if err := c.checkKernel(k); err != nil {
		return nil, err
	}
	p := &pipeline{}
	if err := c.compile(p, k); err != nil {
		p.release()
		return nil, newShaderError(k.Name, err)
	}
	c.pipelines[k.WGSL] = p
	return p, nil
}

// checkKernel refuses what the library aborts on or lets pass unseen.
func (c *core) checkKernel(k *shaders.Kernel) error {
	if k.WGSL == "" || !utf8.ValidString(k.WGSL) || strings.ContainsRune(k.WGSL, 0) {
		return &ShaderError{Kernel: k.Name, Message: "the source is empty or not UTF-8 text"}
	}
	storage := 0
	for _, b := range k.Bindings {
		if b.Access != shaders.Uniform {
			storage++
		}
	}
	invocations := uint64(1)
	for _, n := range k.Workgroup {
		invocations = min(invocations*uint64(n), math.MaxUint32)
	}
	for _, l := range []struct {
		what         string
		value, limit int
		zero         bool
	}{
		{"invocations of a workgroup", int(invocations), c.info.MaxInvocations, false},
		{"bytes of workgroup memory", k.Shared, c.info.MaxSharedBytes, true},
		{"storage buffers", storage, c.info.MaxStorageBuffers, false},
	} {
		if l.value > l.limit || l.value == 0 && !l.zero {
			return fmt.Errorf("kernel %s: %w", k.Name, &LimitError{l.what, int64(l.value), int64(l.limit)})
		}
	}
	return nil
}

func (c *core) compile(p *pipeline, k *shaders.Kernel) (err error) {
	p.module, err = c.device.CreateShaderModule(&wgpu.ShaderModuleDescriptor{
		Label:          k.Name,
		WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: k.WGSL},
	})
	if err != nil {
		return err
	}
	entries := make([]wgpu.BindGroupLayoutEntry, len(k.Bindings))
	for i, b := range k.Bindings {
		entries[i] = wgpu.BindGroupLayoutEntry{
			Binding:    uint32(i),
			Visibility: wgpu.ShaderStage_Compute,
			Buffer:     wgpu.BufferBindingLayout{Type: bindingType(b.Access)},
		}
	}
	p.bindings, err = c.device.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{Label: k.Name, Entries: entries})
	if err != nil {
		return err
	}
	p.layout, err = c.device.CreatePipelineLayout(&wgpu.PipelineLayoutDescriptor{
		Label:            k.Name,
		BindGroupLayouts: []*wgpu.BindGroupLayout{p.bindings},
	})
	if err != nil {
		return err
	}
	p.ComputePipeline, err = c.device.CreateComputePipeline(&wgpu.ComputePipelineDescriptor{
		Label:   k.Name,
		Layout:  p.layout,
		Compute: wgpu.ProgrammableStageDescriptor{Module: p.module, EntryPoint: "main"},
	})
	if err != nil {
		return err
	}
	return c.faults.pop()
}

func bindingType(a shaders.Access) wgpu.BufferBindingType {
	switch a {
	case shaders.Uniform:
		return wgpu.BufferBindingType_Uniform
	case shaders.Read:
		return wgpu.BufferBindingType_ReadOnlyStorage
	}
	return wgpu.BufferBindingType_Storage
}
