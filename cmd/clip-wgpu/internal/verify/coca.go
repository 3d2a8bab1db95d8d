package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// cocaLoss is the objective of the recordings, of which one says which id is padding.
func cocaLoss(objective string) train.CoCaLoss {
	loss := train.CoCaLoss{ClipWeight: 1, CaptionWeight: 2}
	if _, pad, ok := strings.Cut(objective, "pad_id="); ok {
		fmt.Sscan(pad, &loss.PadID) // 0 where it is no number
	}
	return loss
}

// verifyCoCa compares every tensor of outputs.safetensors, the gradient digests of
// grads.json and what generate.json says that the model generates.
func verifyCoCa(ctx context.Context, c *testCase) error {
	in, err := c.inputs("inputs.safetensors")
	if err != nil {
		return err
	}
	m, err := c.load(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	m.Eval()
	var grads gradients
	if c.has("grads.json") {
		if err := c.decode("grads.json", &grads); err != nil {
			return err
		}
	}
	named, err := cocaTensors(ctx, m, in, cocaLoss(grads.Objective))
	if err != nil {
		return err
	}
	if err := c.compareOutputs(ctx, "", &forward{m: m, inputs: in, named: named}); err != nil {
		return err
	}
	if c.has("grads.json") {
		if err := c.compareDigests(ctx, m, in); err != nil {
			return err
		}
	}
	if c.has("generate.json") {
		return c.compareGenerated(ctx, m, in)
	}
	return nil
}

// cocaTensors are the tensors of these recordings that others have not, or call otherwise:
// image_features and text_features are unit vectors here.
func cocaTensors(ctx context.Context, m *clip.Model, in inputs, loss train.CoCaLoss) (map[string]clip.Array, error) {
	out, err := m.Forward(ctx, in.byName(), in.texts)
	if err != nil {
		return nil, err
	}
	images, err := m.EncodeImageOutputs(ctx, in.byName(), false)
	if err != nil {
		return nil, err
	}
	texts, err := m.EncodeTextOutputs(ctx, in.texts, false)
	if err != nil {
		return nil, err
	}
	named := map[string]clip.Array{
		"image_features": *out.ImageFeatures, "text_features": *out.TextFeatures, "logits": *out.Logits,
		"image_features_raw": images[towers.Features], "text_features_raw": texts[towers.Features],
		"image_embs": images["tokens"], "text_token_embs": texts["tokens"],
	}
	for name, part := range map[string]train.CoCaLoss{
		"contrastive_loss": {ClipWeight: loss.ClipWeight, PadID: loss.PadID},
		"caption_loss":     {CaptionWeight: loss.CaptionWeight, PadID: loss.PadID},
	} {
		_, value, err := train.Gradients(ctx, m, part, train.Batch{Images: *in.images, Texts: in.texts})
		if err != nil {
			return nil, err
		}
		named[name] = clip.Array{Shape: []int{}, Data: []float32{float32(value)}}
	}
	return named, nil
}
