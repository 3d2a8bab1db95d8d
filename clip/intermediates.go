package clip

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/engine"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// Indices chooses transformer blocks. Nil takes all.
type Indices interface {
	// indices returns, in ascending order and without duplicates, which of n blocks.
	indices(n int) ([]int, error)
}

// LastN takes the last N blocks, N between 1 and their number.
type LastN int

// Blocks takes the listed blocks; negative ones count from the end. They come
// back in the model's order, each once.
type Blocks []int

func (l LastN) indices(n int) ([]int, error) {
	if l <= 0 || int(l) > n {
		return nil, fmt.Errorf("%w: last-n (%d) is out of range (1 to %d)", ErrInput, int(l), n)
	}
	return rangeOf(n-int(l), n), nil
}

func (b Blocks) indices(n int) ([]int, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: the list of blocks is empty", ErrInput)
	}
	var list []int
	for _, i := range b {
		at := i
		if i < 0 {
			at += n
		}
		if at < 0 || at >= n {
			return nil, fmt.Errorf("%w: feature index %d is out of range (%d to %d)", ErrInput, i, -n, n-1)
		}
		list = append(list, at)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func rangeOf(lo, hi int) []int {
	list := make([]int, 0, hi-lo)
	for i := lo; i < hi; i++ {
		list = append(list, i)
	}
	return list
}

// IntermediatesOptions are the arguments of open_clip's forward_intermediates.
// The zero value is open_clip's default.
type IntermediatesOptions struct {
	ImageIndices, TextIndices Indices
	StopEarly                 bool   // end at the last chosen block; CLIP ignores it for text
	NoNormalize               bool   // normalize=False: features are not made unit vectors
	NormalizeIntermediates    bool   // apply the tower's final norm to them
	IntermediatesOnly         bool   // no features, and so no logits
	ImageOutputFmt            string // NCHW (default) or NLC
	ImageOutputExtraTokens    bool   // also the class token
	TextOutputFmt             string // NLC (default); CLIP ignores it
	TextOutputExtraTokens     bool   // also the class token of embed_cls
	OutputLogits              bool
	OutputLogitScaleBias      bool
}

// Intermediates is the dict that forward_intermediates returns; nil is absent.
type Intermediates struct {
	ImageIntermediates       []Array // [n, width, grid height, grid width], or [n, tokens, width]
	ImageIntermediatesPrefix []Array // [n, 1, width]
	ImageFeatures            *Array  // as of EncodeImage
	TextIntermediates        []Array // [n, tokens, width]
	TextIntermediatesSuffix  []Array // [n, 1, width]
	TextFeatures             *Array  // as of EncodeText
	ImageLogits, TextLogits  *Array  // as of GetLogits
	LogitScale, LogitBias    *float32
}

// ForwardIntermediates returns features and the outputs of the towers' blocks. images are
// what images consist of (see ImageInputs), texts are rows of token ids; either may be nil.
// An empty batch is an error.
func (m *Model) ForwardIntermediates(ctx context.Context, images map[string]Array, texts [][]int32, o IntermediatesOptions) (*Intermediates, error) {
	if o.IntermediatesOnly {
		o.NoNormalize, o.OutputLogits = true, false
	}
	if err := notEmpty(images, texts); err != nil {
		return nil, err
	}
	if o.OutputLogits && (images == nil || texts == nil) {
		return nil, fmt.Errorf("%w: both images and texts are required to compute logits", ErrInput)
	}
	out := &Intermediates{}
	if images != nil {
		if err := m.imageIntermediates(ctx, images, o, out); err != nil {
			return nil, err
		}
	}
	if texts != nil {
		if err := m.textIntermediates(ctx, texts, o, out); err != nil {
			return nil, err
		}
	}
	if o.OutputLogits {
		logits, err := m.Similarity(ctx, *out.ImageFeatures, *out.TextFeatures)
		if err != nil {
			return nil, err
		}
		t := transpose(logits)
		out.ImageLogits, out.TextLogits = &logits, &t
	}
	if o.OutputLogitScaleBias {
		scale := m.LogitScale()
		out.LogitScale = &scale
		if b, ok := m.LogitBias(); ok {
			out.LogitBias = &b
		}
	}
	return out, nil
}

// notEmpty refuses batches of nothing, whose results would have no shape.
func notEmpty(images map[string]Array, texts [][]int32) error {
	for _, x := range images {
		if len(x.Shape) > 0 && x.Shape[0] == 0 {
			return fmt.Errorf("%w: a batch of no images", ErrInput)
		}
	}
	if texts != nil && len(texts) == 0 {
		return fmt.Errorf("%w: a batch of no texts", ErrInput)
	}
	return nil
}

// selection is which blocks of a tower to run and to return.
func selection(i Indices, n int, stopEarly bool) (selected []int, depth int, err error) {
	if i == nil {
		i = LastN(n)
	}
	selected, err = i.indices(n)
	if err != nil || !stopEarly {
		return selected, n, err
	}
	return selected, selected[len(selected)-1] + 1, nil
}

func (m *Model) imageIntermediates(ctx context.Context, images map[string]Array, o IntermediatesOptions, out *Intermediates) error {
	format := o.ImageOutputFmt
	if format == "" {
		format = "NCHW"
	}
	if format != "NCHW" && format != "NLC" {
		return fmt.Errorf("%w: image output format %q must be one of NCHW or NLC", ErrInput, format)
	}
	tower := m.towers.Visual
	bo, err := tower.BlockOptions(towers.BlockOptions{StopEarly: o.StopEarly, Normalize: o.NormalizeIntermediates, Format: o.ImageOutputFmt})
	if err != nil {
		return err
	}
	items, err := m.images(images)
	if err != nil {
		return err
	}
	if _, oneSize := images[towers.Image]; !oneSize && format == "NCHW" {
		return fmt.Errorf("%w: the image output format of images of several sizes must be NLC", ErrInput)
	}
	blocks, features, err := m.blocks(ctx, "image", m.towers.ImageScope(), tower, items, o.ImageIndices, bo, o)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if items.Grid != (config.Size{}) {
			b.tokens.Shape = []int{b.tokens.Shape[0], items.Grid[0], items.Grid[1], b.tokens.Shape[3]}
		}
		if format == "NCHW" {
			b.tokens = channelsFirst(b.tokens)
		} else {
			b.tokens.Shape = []int{b.tokens.Shape[0], b.tokens.Shape[1] * b.tokens.Shape[2], b.tokens.Shape[3]}
		}
		out.ImageIntermediates = append(out.ImageIntermediates, b.tokens)
		if o.ImageOutputExtraTokens && b.special != nil {
			out.ImageIntermediatesPrefix = append(out.ImageIntermediatesPrefix, *b.special)
		}
	}
	if out.ImageFeatures = features; features != nil {
		return m.finiteOutputs(ctx, "image", map[string]Array{towers.Features: *features}, m.isImage, slices.Collect(maps.Values(images))...)
	}
	return nil
}

func (m *Model) textIntermediates(ctx context.Context, texts [][]int32, o IntermediatesOptions, out *Intermediates) error {
	custom := m.Config().CustomText
	if f := o.TextOutputFmt; custom && f != "" && f != "NLC" {
		return fmt.Errorf("%w: text output format %q must be NLC", ErrInput, f)
	}
	bo, err := m.towers.Text.BlockOptions(towers.BlockOptions{StopEarly: o.StopEarly && custom, Normalize: o.NormalizeIntermediates})
	if err != nil {
		return err
	}
	items, err := m.towers.Texts(texts)
	if err != nil {
		return err
	}
	blocks, features, err := m.blocks(ctx, "text", m.towers.TextScope(), m.towers.Text, items, o.TextIndices, bo, o)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		out.TextIntermediates = append(out.TextIntermediates, b.tokens)
		if o.TextOutputExtraTokens && b.special != nil {
			out.TextIntermediatesSuffix = append(out.TextIntermediatesSuffix, *b.special)
		}
	}
	if out.TextFeatures = features; features != nil {
		return m.finiteOutputs(ctx, "text", map[string]Array{towers.Features: *features}, m.isText)
	}
	return nil
}

// block is the output of one block, as towers.Block.
type block struct {
	tokens  Array
	special *Array
}

// blocks runs a tower and returns the outputs of the chosen blocks and, unless only
// these are wanted, the features.
func (m *Model) blocks(ctx context.Context, kind, scope string, tower towers.Tower, items towers.Batch, chosen Indices, bo towers.BlockOptions, o IntermediatesOptions) ([]block, *Array, error) {
	selected, depth, err := selection(chosen, tower.Depth(), bo.StopEarly)
	if err != nil {
		return nil, nil, err
	}
	tokens := func(i int) string { return fmt.Sprintf("block %d", i) }
	special := func(i int) string { return fmt.Sprintf("special tokens of block %d", i) }
	outs, err := m.engine.Run(ctx, items.Items, engine.Task{
		Key: fmt.Sprintf("%s length=%d blocks %v of %d norm=%t only=%t unit=%t", kind, items.Length, selected, depth, bo.Normalize, o.IntermediatesOnly, !o.NoNormalize),
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			defer g.Scope(scope)()
			r := tower.Record(g, batch, items.Length, depth)
			outs := map[string]graph.Tensor{}
			for _, i := range selected {
				b := r.Block(i, bo.Normalize)
				outs[tokens(i)] = b.Tokens
				if b.Special.Valid() {
					outs[special(i)] = b.Special
				}
			}
			if o.IntermediatesOnly {
				return outs
			}
			x := r.Outputs()[towers.Features]
			if !o.NoNormalize {
				x = towers.Unit(g, x)
			}
			outs[towers.Features] = x
			return outs
		},
		Feed: items.Feed,
	})
	if err != nil {
		return nil, nil, err
	}
	var blocks []block
	for _, i := range selected {
		b := block{tokens: Array(outs[tokens(i)])}
		if x, ok := outs[special(i)]; ok {
			t := Array(x)
			b.special = &t
		}
		blocks = append(blocks, b)
	}
	if x, ok := outs[towers.Features]; ok {
		t := Array(x)
		return blocks, &t, nil
	}
	return blocks, nil, nil
}

// channelsFirst turns [n, height, width, channels] into [n, channels, height, width].
func channelsFirst(t Array) Array {
	n, cells, channels := t.Shape[0], t.Shape[1]*t.Shape[2], t.Shape[3]
	y := Array{[]int{n, channels, t.Shape[1], t.Shape[2]}, make([]float32, len(t.Data))}
	for i := range n {
		for c := range cells {
			for w := range channels {
				y.Data[(i*channels+w)*cells+c] = t.Data[(i*cells+c)*channels+w]
			}
		}
	}
	return y
}

// Trace returns the outputs of modules by their open_clip names, as forward
// hooks would see them: "visual.transformer.resblocks.0.attn", "ln_final", and
// "transformer.input" for what enters a stack of blocks. Feature maps, as that of
// "visual.conv1", are [n, channels, height, width], those of Swin [n, height, width,
// channels]. Names of a tower whose input is absent, and of modules that the model
// lacks, are errors, and so is an empty batch.
func (m *Model) Trace(ctx context.Context, images map[string]Array, texts [][]int32, modules ...string) (map[string]Array, error) {
	if err := notEmpty(images, texts); err != nil {
		return nil, err
	}
	found := map[string]Array{}
	if images != nil {
		b, err := m.images(images)
		if err == nil {
			err = m.trace(ctx, "image", b, m.towers.RecordImages, modules, found)
		}
		if err != nil {
			return nil, err
		}
	}
	if texts != nil {
		b, err := m.towers.Texts(texts)
		if err == nil {
			err = m.trace(ctx, "text", b, m.towers.RecordTexts, modules, found)
		}
		if err != nil {
			return nil, err
		}
	}
	if images != nil && texts != nil && m.towers.Decoder != nil {
		if err := m.traceDecoder(ctx, images, texts, modules, found); err != nil {
			return nil, err
		}
	}
	for _, name := range modules {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("%w: the model has no module %q for the given inputs", ErrInput, name)
		}
	}
	return found, nil
}

// trace adds to found what a tower's modules compute.
func (m *Model) trace(ctx context.Context, tower string, b towers.Batch, record recorder, modules []string, found map[string]Array) error {
	probe := graph.New()
	record(probe, 1, b.Length)
	names := slices.DeleteFunc(slices.Clone(modules), func(name string) bool { _, ok := probe.Tapped(name); return !ok })
	if len(names) == 0 {
		return probe.Err()
	}
	outs, err := m.engine.Run(ctx, b.Items, engine.Task{
		Key: fmt.Sprintf("%s length=%d trace %q", tower, b.Length, names),
		Record: func(g *graph.Graph, batch int) map[string]graph.Tensor {
			record(g, batch, b.Length)
			taps := map[string]graph.Tensor{}
			for _, name := range names {
				taps[name], _ = g.Tapped(name)
			}
			return taps
		},
		Feed: b.Feed,
	})
	if err != nil {
		return err
	}
	for name, x := range outs {
		t := Array(x)
		if len(t.Shape) == 4 && !m.towers.ChannelsLast() { // as they are on the device
			t = channelsFirst(t)
		}
		found[name] = t
	}
	return nil
}
