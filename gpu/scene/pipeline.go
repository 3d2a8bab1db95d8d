package scene

import (
	"encoding/binary"
	"image"
	"math"
	"reflect"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

// release frees an object of the library that may be nil.
func release(object interface{ Release() }) {
	if !reflect.ValueOf(object).IsNil() {
		object.Release()
	}
}

// compile makes everything that does not depend on scenes. The caller is inside Call.
func (p *Painter) compile() (err error) {
	device := p.gpu.Device
	p.module, err = device.CreateShaderModule(&wgpu.ShaderModuleDescriptor{
		Label:          "scene",
		WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: source},
	})
	if err != nil {
		return err
	}
	flat := wgpu.TextureBindingLayout{SampleType: wgpu.TextureSampleType_Float, ViewDimension: wgpu.TextureViewDimension_2D}
	p.common, err = device.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{Entries: []wgpu.BindGroupLayoutEntry{
		{Binding: 0, Visibility: wgpu.ShaderStage_Vertex, Buffer: wgpu.BufferBindingLayout{Type: wgpu.BufferBindingType_Uniform}},
		{Binding: 1, Visibility: wgpu.ShaderStage_Fragment, Texture: flat},
		{Binding: 2, Visibility: wgpu.ShaderStage_Fragment, Sampler: wgpu.SamplerBindingLayout{Type: wgpu.SamplerBindingType_Filtering}},
	}})
	if err != nil {
		return err
	}
	p.single, err = device.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{Entries: []wgpu.BindGroupLayoutEntry{
		{Binding: 0, Visibility: wgpu.ShaderStage_Fragment, Texture: flat},
	}})
	if err != nil {
		return err
	}
	p.layout, err = device.CreatePipelineLayout(&wgpu.PipelineLayoutDescriptor{BindGroupLayouts: []*wgpu.BindGroupLayout{p.common, p.single}})
	if err != nil {
		return err
	}
	p.sampler, err = device.CreateSampler(&wgpu.SamplerDescriptor{
		AddressModeU: wgpu.AddressMode_ClampToEdge, AddressModeV: wgpu.AddressMode_ClampToEdge, AddressModeW: wgpu.AddressMode_ClampToEdge,
		MagFilter: wgpu.FilterMode_Linear, MinFilter: wgpu.FilterMode_Linear, MaxAnisotrophy: 1,
	})
	if err != nil {
		return err
	}
	p.uniforms, err = device.CreateBuffer(&wgpu.BufferDescriptor{Size: uniformBytes, Usage: wgpu.BufferUsage_Uniform | wgpu.BufferUsage_CopyDst})
	if err != nil {
		return err
	}
	p.pipeline, err = device.CreateRenderPipeline(p.pipelineDescriptor())
	return err
}

func (p *Painter) pipelineDescriptor() *wgpu.RenderPipelineDescriptor {
	attributes := make([]wgpu.VertexAttribute, instanceFloats/4)
	for i := range attributes {
		attributes[i] = wgpu.VertexAttribute{Format: wgpu.VertexFormat_Float32x4, Offset: uint64(16 * i), ShaderLocation: uint32(i)}
	}
	over := wgpu.BlendComponent{SrcFactor: wgpu.BlendFactor_One, DstFactor: wgpu.BlendFactor_OneMinusSrcAlpha, Operation: wgpu.BlendOperation_Add}
	return &wgpu.RenderPipelineDescriptor{
		Label:  "scene",
		Layout: p.layout,
		Vertex: wgpu.VertexState{
			Module:     p.module,
			EntryPoint: "corner",
			Buffers: []wgpu.VertexBufferLayout{{
				ArrayStride: 4 * instanceFloats,
				StepMode:    wgpu.VertexStepMode_Instance,
				Attributes:  attributes,
			}},
		},
		Primitive:   wgpu.PrimitiveState{Topology: wgpu.PrimitiveTopology_TriangleList},
		Multisample: wgpu.MultisampleState{Count: 1, Mask: ^uint32(0)},
		Fragment: &wgpu.FragmentState{
			Module:     p.module,
			EntryPoint: "pixel",
			Targets: []wgpu.ColorTargetState{{
				Format:    p.format,
				Blend:     &wgpu.BlendState{Color: over, Alpha: over},
				WriteMask: wgpu.ColorWriteMask_All,
			}},
		},
	}
}

// uniformBytes is the size of Target in scene.wgsl.
const uniformBytes = 16

// writeUniforms tells the shader how large the target is. The caller is inside Call.
func (p *Painter) writeUniforms(size image.Point) error {
	var data [uniformBytes]byte
	binary.LittleEndian.PutUint32(data[0:], math.Float32bits(float32(size.X)))
	binary.LittleEndian.PutUint32(data[4:], math.Float32bits(float32(size.Y)))
	return p.gpu.Queue.WriteBuffer(p.uniforms, 0, data[:])
}
