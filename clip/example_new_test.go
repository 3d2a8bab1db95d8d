//go:build !race

// The race detector would spend a minute on drawing 150 million random weights.

package clip_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/config"
)

// A ViT-B/16 with random weights, as before training.
func ExampleNew() {
	ctx := context.Background()
	cfg := config.Config{
		EmbedDim:  512,
		VisionCfg: config.DefaultVisionConfig(), // 12 layers, width 768, patches of 16, images of 224
		TextCfg:   config.DefaultTextConfig(),   // context 77, vocabulary 49,408, width 512, 8 heads, 12 layers
	}
	model, err := clip.New(cfg, 42)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	const n = 4
	r := rand.New(rand.NewPCG(42, 0))
	images := clip.Array{Shape: []int{n, 3, 224, 224}, Data: make([]float32, n*3*224*224)}
	for i := range images.Data {
		images.Data[i] = float32(r.NormFloat64())
	}
	texts := make([][]int32, n)
	for i := range texts {
		texts[i] = make([]int32, 77)
		for j := range texts[i] {
			texts[i][j] = r.Int32N(49408)
		}
	}

	out, err := model.Forward(ctx, clip.ImageInputs(images), texts)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("image features:", out.ImageFeatures.Shape)
	fmt.Println("text features:", out.TextFeatures.Shape)
	fmt.Printf("logit scale: %.4f\n", out.LogitScale)
	similarity, err := model.Similarity(ctx, *out.ImageFeatures, *out.TextFeatures)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("similarity:", similarity.Shape)

	one, err := model.EncodeImage(ctx, clip.Array{Shape: []int{1, 3, 224, 224}, Data: images.Data[:3*224*224]}, true)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("an image alone:", one.Shape)
	two, err := model.EncodeText(ctx, texts[:2], true)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("two texts alone:", two.Shape)
	// Output:
	// image features: [4 512]
	// text features: [4 512]
	// logit scale: 14.2857
	// similarity: [4 4]
	// an image alone: [1 512]
	// two texts alone: [2 512]
}
