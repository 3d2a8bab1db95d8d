package towers

import (
	"fmt"
	"math"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// CaptionCache keeps what attention has made of captions that are being written: of each
// of Images images Beams texts, row by row, of up to Length tokens. A text may continue any
// of its image: each token has a slot of its own, and a mask says which a text consists of.
type CaptionCache struct {
	Images, Beams, Length int

	text, self, cross []layers.KVCache // of the text tower's blocks, the decoder's, and its cross attention
}

// Inputs of the graphs that write captions, beside those of a text tower.
const (
	token    = "token"     // i32 [rows, 1]
	position = "position"  // i32 [rows]: where it stands in its text
	slot     = "slot"      // i32 [rows]: its row of Images·Beams·Length
	textMask = "text_mask" // f32 [Images, Beams, Beams·Length]: what the text tower sees
	selfMask = "self_mask" // likewise, the decoder
	last     = "last"      // i32 [rows]: of rows·length tokens, those whose next is asked for
)

// reader is a text tower that reads from left to right, so that a token changes nothing
// before it.
type reader interface {
	// step is what the tower gives of one token of each row, [rows, 1, width].
	step(g *graph.Graph, ids, positions graph.Tensor, caches []layers.KVCache, s layers.Slots) graph.Tensor
	// hides tells whether the tower sees nothing of the token after one.
	hides(id int32) bool
}

// reads is the text tower as a reader; false where it is none.
func (m *Model) reads() (reader, bool) {
	t, ok := m.Text.(*textTransformer)
	return t, ok && !t.cfg.NoCausalMask
}

// NewCaptionCache returns a cache for captions of a model with a decoder, or nil where the
// text tower needs all of a text again for every token. Images have tokens tokens.
func (m *Model) NewCaptionCache(images, beams, tokens int) *CaptionCache {
	if _, ok := m.reads(); !ok {
		return nil
	}
	width, length := m.Config.MultimodalCfg.Width, m.CaptionLength()
	caches := func(name string, n, slots int) (all []layers.KVCache) {
		for i := range n {
			all = append(all, layers.NewKVCache(fmt.Sprintf("caption.%s.%d", name, i), images, slots, width))
		}
		return all
	}
	return &CaptionCache{
		Images: images, Beams: beams, Length: length,
		text:  caches("text", m.Text.Depth(), beams*length),
		self:  caches("self", len(m.Decoder.Resblocks), beams*length),
		cross: caches("cross", len(m.Decoder.CrossAttn), tokens),
	}
}

// DropsStart tells whether the text tower gives no token of the start of a text, so that
// nothing says what follows it: cls_pooler takes that token.
func (m *Model) DropsStart() bool {
	t, ok := m.Text.(*hfTextEncoder)
	return ok && t.pooler == "cls_pooler"
}

// CaptionLength is how many tokens a text of which the next is asked for may have.
func (m *Model) CaptionLength() int {
	n := m.Decoder.ContextLength
	if t, ok := m.Text.(*textTransformer); ok {
		n = min(n, t.ContextLength)
	}
	return n
}

// States are those that the cache consists of.
func (c *CaptionCache) States() (all []*graph.State) {
	for _, list := range [][]layers.KVCache{c.text, c.self, c.cross} {
		for _, kv := range list {
			all = append(all, kv.K, kv.V)
		}
	}
	return all
}

// RecordContext begins captions of other images: the input ImageTokens is their tokens, which
// the decoder attends to.
func (m *Model) RecordContext(g *graph.Graph, c *CaptionCache) {
	defer g.Scope(DecoderScope)()
	s := c.cross[0].K.Shape
	tokens := g.Input(ImageTokens, s, graph.F32)
	for i, b := range m.Decoder.CrossAttn {
		b.Remember(g, tokens, c.cross[i])
	}
	for _, list := range [][]layers.KVCache{c.text, c.self} {
		for _, kv := range list {
			kv.Clear(g)
		}
	}
}

// RecordStep reads one more token of each text. Logits are those of the tokens that follow,
// [texts, vocabulary]; StepFeed gives its inputs.
func (m *Model) RecordStep(g *graph.Graph, c *CaptionCache) Outputs {
	text, _ := m.reads()
	rows := c.Images * c.Beams
	visible := graph.Shape{c.Images, c.Beams, c.Beams * c.Length}
	at := g.Input(slot, graph.Shape{rows}, graph.I32)
	end := g.Scope(m.TextScope())
	x := text.step(g, g.Input(token, graph.Shape{rows, 1}, graph.I32), g.Input(position, graph.Shape{rows}, graph.I32),
		c.text, layers.Slots{At: at, Mask: g.Input(textMask, visible, graph.F32)})
	end()
	defer g.Scope(DecoderScope)()
	slots := layers.Slots{At: at, Mask: g.Input(selfMask, visible, graph.F32)}
	for i, b := range m.Decoder.Resblocks {
		x = m.Decoder.CrossAttn[i].CrossStep(g, b.Step(g, x, c.self[i], slots), c.cross[i])
	}
	return Outputs{Logits: m.Decoder.Logits(g, g.Reshape(m.Decoder.LnFinal.Forward(g, x), rows, x.Dim(2)))}
}

// StepFeed gives the inputs of RecordStep for the token at place at of each row. owners say, for
// each row and place up to at, which beam of its image the token there was read as.
func (m *Model) StepFeed(c *CaptionCache, rows, owners [][]int32, at int) map[string]any {
	text, _ := m.reads()
	n := len(rows)
	ids, places, slots := make([]int32, n), make([]int32, n), make([]int32, n)
	keys := c.Beams * c.Length
	seen, heard := hidden(n*keys), hidden(n*keys)
	for r, row := range rows {
		ids[r], places[r], slots[r] = row[at], int32(at), int32(r*c.Length+at)
		for j, owner := range owners[r][:at+1] {
			key := r*keys + int(owner)*c.Length + j
			heard[key] = 0
			if j == 0 || !text.hides(row[j-1]) {
				seen[key] = 0
			}
		}
	}
	return map[string]any{token: ids, position: places, slot: slots, textMask: seen, selfMask: heard}
}

// hidden is a mask that shows nothing.
func hidden(n int) []float32 {
	mask := make([]float32, n)
	for i := range mask {
		mask[i] = float32(math.Inf(-1))
	}
	return mask
}

// RecordNext is RecordStep without a cache: of texts of each image, of length tokens, which
// the text tower reads whole. The inputs are those of the tower, ImageTokens [images,
// tokens, width] and those of Last.
func (m *Model) RecordNext(g *graph.Graph, images, texts, length, tokens int) Outputs {
	all := m.RecordTexts(g, images*texts, length)["tokens"]
	defer g.Scope(DecoderScope)()
	image := g.Input(ImageTokens, graph.Shape{images, tokens, all.Dim(2)}, graph.F32)
	x := m.Decoder.Forward(g, image, all)
	x = ops.Gather(g, g.Reshape(x, x.Dim(0)*x.Dim(1), x.Dim(2)), g.Input(last, graph.Shape{images * texts}, graph.I32))
	return Outputs{Logits: m.Decoder.Logits(g, x)}
}

// Last gives RecordNext's own input for rows of length tokens, of which at is the last one
// that is no padding.
func Last(rows, length, at int) (string, []int32) {
	all := make([]int32, rows)
	for i := range all {
		all[i] = int32(i*length + at)
	}
	return last, all
}

// Padding is the id with which texts of a tower may be made longer without changing what
// it gives of their tokens; false where there is none.
func (m *Model) Padding() (int32, bool) {
	switch t := m.Text.(type) {
	case *hfTextEncoder:
		return int32(t.model.padding), true
	case *textTransformer:
		return int32(t.cfg.PadID), !t.cfg.NoCausalMask
	}
	return 0, false
}
