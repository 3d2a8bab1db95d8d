package towers

import (
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const fusedConv = "reparam_conv."

// unfuse gives the modules of a tower that timm has fused for inference
// (reparameterize_model) their branches again. One of them does what the fused
// convolution did and the others add nothing, so the tower computes the same. What is
// incomplete is left for Bind to report.
func unfuse(m weights.Map, tower any) error {
	fused := map[string][2]weights.Stored{} // weight and bias by module
	for name, weight := range m {
		module, ok := strings.CutSuffix(name, fusedConv+"weight")
		if bias, both := m[module+fusedConv+"bias"]; ok && both {
			fused[module] = [2]weights.Stored{weight, bias}
		}
	}
	var failed error
	weights.Walk(tower, func(_ string, p *graph.Param) {
		for module, conv := range fused {
			branch, ok := strings.CutPrefix(p.Name, module)
			if _, stored := m[p.Name]; !ok || stored || p.Integer || failed != nil {
				continue
			}
			if m[p.Name], failed = unfused(p, branch, conv[0], conv[1]); failed != nil {
				return
			}
		}
	})
	for module := range fused {
		delete(m, module+fusedConv+"weight")
		delete(m, module+fusedConv+"bias")
	}
	return failed
}

// unfused is the tensor of a branch's parameter p of a module that was fused to a
// convolution.
func unfused(p *graph.Param, branch string, weight, bias weights.Stored) (weights.Stored, error) {
	value := float32(0)
	switch branch = strings.TrimPrefix(branch, "mixer."); branch {
	case "conv_kxk.0.conv.weight", "large_conv.conv.weight":
		weight.Name = p.Name
		return weight, nil
	case "conv_kxk.0.bn.bias", "large_conv.bn.bias", "pos_enc.bias":
		bias.Name = p.Name
		return bias, nil
	case "pos_enc.weight":
		return withoutIdentity(p, weight)
	case "conv_kxk.0.bn.weight", "large_conv.bn.weight", "norm.identity.weight", "layer_scale.gamma":
		value = 1
	default:
		if strings.HasSuffix(branch, "running_var") {
			value = 1 - 1e-5 // and the norm's eps
		}
	}
	return weights.FromF32(p.Name, p.Shape, slices.Repeat([]float32{value}, p.Shape.Elems()))
}

// withoutIdentity is a depthwise convolution's weight [channels, 1, height, width] as that
// of a module that adds its input.
func withoutIdentity(p *graph.Param, t weights.Stored) (weights.Stored, error) {
	t.Name = p.Name
	if !slices.Equal(t.Shape, []int(p.Shape)) || !t.DType.IsFloat() {
		return t, nil // for Bind to report
	}
	data := make([]float32, t.Len())
	if err := t.ReadF32(data, 0); err != nil {
		return t, err
	}
	window := p.Shape[2] * p.Shape[3]
	for i := window / 2; i < len(data); i += window {
		data[i]--
	}
	return weights.FromF32(p.Name, p.Shape, data)
}
