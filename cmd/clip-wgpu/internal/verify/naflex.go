package verify

import (
	"context"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
)

// naflexTensors are the tensors of recordings whose inputs have pictures as sequences of
// patches, and images of another size; none of others.
func (c *testCase) naflexTensors(ctx context.Context, m *clip.Model, texts [][]int32) (map[string]clip.Array, error) {
	f, err := c.open("inputs.safetensors")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, ok := f.Tensor(towers.Patches); !ok {
		return nil, nil
	}
	pictures := map[string]clip.Array{}
	for _, name := range []string{towers.Patches, towers.PatchCoord, towers.PatchValid} {
		if pictures[name], err = readTensor(f, name); err != nil {
			return nil, err
		}
	}
	named := map[string]clip.Array{}
	for name, unit := range map[string]bool{"naflex.image_features": false, "naflex.image_features_norm": true} {
		outs, err := m.EncodeImageOutputs(ctx, pictures, unit)
		if err != nil {
			return nil, err
		}
		named[name] = outs[towers.Features]
	}
	if named["naflex.image_logits"], _, err = m.GetLogits(ctx, pictures, texts); err != nil {
		return nil, err
	}
	if named["naflex.tokens"], err = naflexTokens(ctx, m, pictures); err != nil {
		return nil, err
	}
	if _, ok := f.Tensor("image_nonsquare"); !ok {
		return named, nil
	}
	image, err := readTensor(f, "image_nonsquare")
	if err != nil {
		return nil, err
	}
	named["nonsquare.image_features"], err = m.EncodeImage(ctx, image, false)
	return named, err
}

// naflexTokens are what the trunk's norm gives, with zeros where there is padding.
func naflexTokens(ctx context.Context, m *clip.Model, pictures map[string]clip.Array) (clip.Array, error) {
	const norm = "visual.trunk.norm"
	traced, err := m.Trace(ctx, pictures, nil, norm)
	if err != nil {
		return clip.Array{}, err
	}
	tokens, valid := traced[norm], pictures[towers.PatchValid]
	length, width := valid.Shape[1], tokens.Shape[2]
	registers := tokens.Shape[1] - length
	for i, v := range valid.Data {
		if row := i/length*tokens.Shape[1] + registers + i%length; v == 0 {
			clear(tokens.Data[row*width : (row+1)*width])
		}
	}
	return tokens, nil
}
