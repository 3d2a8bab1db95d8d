package train_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// tinyConfig is a model of two small towers: images of 32×32, 8 tokens of a
// vocabulary of 100, whose last is the end of a text.
func tinyConfig() config.Config {
	c := config.Config{EmbedDim: 16, VisionCfg: config.DefaultVisionConfig(), TextCfg: config.DefaultTextConfig()}
	v, t := &c.VisionCfg, &c.TextCfg
	v.ImageSize, v.PatchSize = config.Size{32, 32}, config.Size{8, 8}
	v.Layers, v.Width, v.HeadWidth = config.Layers{2}, 32, 16
	t.ContextLength, t.VocabSize, t.Layers, t.Width, t.Heads = 8, 100, 2, 32, 2
	return c
}

// tinyPairs are images of noise [n, 3, 32, 32] with texts of their own.
func tinyPairs(n int) (clip.Array, [][]int32) {
	r := rand.New(rand.NewPCG(1, 2))
	images := clip.Array{Shape: []int{n, 3, 32, 32}, Data: make([]float32, n*3*32*32)}
	for i := range images.Data {
		images.Data[i] = float32(r.NormFloat64())
	}
	texts := make([][]int32, n)
	for i := range texts {
		texts[i] = []int32{98, int32(i), int32(i + 50), 99, 0, 0, 0, 0}
	}
	return images, texts
}

// A model learns four pairs by heart, with a rate that rises for two steps and then falls.
func Example() {
	ctx := context.Background()
	model, err := clip.New(tinyConfig(), 42)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	optimizer := train.Scheduled{
		Optimizer: train.AdamW{Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.2},
		LR:        train.CosineLR(2e-3, 2, 20),
	}
	trainer, err := train.New(model, train.Config{Loss: train.ClipLoss{}, Optimizer: optimizer})
	if err != nil {
		log.Fatal(err)
	}
	defer trainer.Close()

	images, texts := tinyPairs(4)
	for step := range 20 {
		loss, err := trainer.Step(ctx, train.Batch{Images: images, Texts: texts})
		if err != nil {
			log.Fatal(err)
		}
		if step == 0 || step == 19 {
			fmt.Printf("loss before step %d: %.1f\n", step+1, loss)
		}
	}

	path := filepath.Join(os.TempDir(), "example.safetensors")
	defer os.Remove(path)
	if err := trainer.Save(ctx, path); err != nil { // for trainer.Resume, later
		log.Fatal(err)
	}
	fmt.Println("steps:", trainer.Steps())
	// Output:
	// loss before step 1: 1.6
	// loss before step 20: 0.0
	// steps: 20
}
