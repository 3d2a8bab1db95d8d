//go:build glfw || darwin || windows

package main

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

var (
	background = image.NewUniform(color.RGBA{0x18, 0x1a, 0x1f, 0xff})
	barTrack   = image.NewUniform(color.RGBA{0x2c, 0x30, 0x38, 0xff})
	barFill    = image.NewUniform(color.RGBA{0x4c, 0x9a, 0xff, 0xff})
	textColor  = image.NewUniform(color.RGBA{0xe6, 0xe8, 0xec, 0xff})
)

// drawSlide draws picture, as large as it fits, over a row for each answer:
// label, bar, probability.
func drawSlide(size image.Point, picture image.Image, answers []answer) (*image.RGBA, error) {
	frame := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(frame, frame.Rect, background, image.Point{}, draw.Src)
	row := max(8, min(size.X, size.Y)/22)
	face, err := textFace(0.62 * float64(row))
	if err != nil {
		return nil, err
	}
	defer face.Close()
	margin := row / 2
	rows := frame.Rect.Inset(margin)
	rows.Min.Y = rows.Max.Y - row*len(answers)
	above := frame.Rect.Inset(margin)
	above.Max.Y = rows.Min.Y - margin
	xdraw.CatmullRom.Scale(frame, fit(picture.Bounds().Size(), above), picture, picture.Bounds(), draw.Src, nil)
	for i, a := range answers {
		at := image.Rect(rows.Min.X, rows.Min.Y+i*row, rows.Max.X, rows.Min.Y+(i+1)*row)
		drawAnswer(frame, at, face, a)
	}
	return frame, nil
}

func textFace(pixels float64) (font.Face, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: pixels, DPI: 72, Hinting: font.HintingFull})
}

// fit returns the largest rectangle that has size's proportions and lies within bounds, in
// their middle.
func fit(size image.Point, bounds image.Rectangle) image.Rectangle {
	if bounds.Empty() {
		return image.Rectangle{}
	}
	w, h := bounds.Dx(), bounds.Dy()
	if size.X*h > size.Y*w {
		h = max(1, size.Y*w/size.X)
	} else {
		w = max(1, size.X*h/size.Y)
	}
	corner := bounds.Min.Add(bounds.Size().Sub(image.Pt(w, h)).Div(2))
	return image.Rectangle{corner, corner.Add(image.Pt(w, h))}
}

func drawAnswer(frame *image.RGBA, at image.Rectangle, face font.Face, a answer) {
	label, bar, percent := at, at, at
	label.Max.X = at.Min.X + at.Dx()*2/5
	bar.Min = label.Max.Sub(image.Pt(0, at.Dy()*4/5))
	bar.Max = at.Max.Sub(image.Pt(at.Dy()*3, at.Dy()/5))
	drawText(frame, label, face, shorten(face, oneLine(a.Label), label.Dx()-at.Dy()/2))
	draw.Draw(frame, bar, barTrack, image.Point{}, draw.Src)
	bar.Max.X = bar.Min.X + int(float64(a.Probability)*float64(bar.Dx())+0.5)
	draw.Draw(frame, bar, barFill, image.Point{}, draw.Src)
	text := fmt.Sprintf("%.1f %%", 100*a.Probability)
	percent.Min.X = percent.Max.X - font.MeasureString(face, text).Ceil()
	drawText(frame, percent, face, text)
}

// drawText writes one line from the left, at middle height.
func drawText(frame *image.RGBA, at image.Rectangle, face font.Face, text string) {
	m := face.Metrics()
	base := at.Min.Y + (at.Dy()+m.Ascent.Ceil()-m.Descent.Ceil())/2
	d := font.Drawer{Dst: frame, Src: textColor, Face: face, Dot: fixed.P(at.Min.X, base)}
	d.DrawString(text)
}

// shorten cuts text to about width pixels.
func shorten(face font.Face, text string, width int) string {
	const mark = "…"
	remaining, end := fixed.I(width), 0
	for i, r := range text {
		if remaining >= font.MeasureString(face, mark) {
			end = i
		}
		advance, _ := face.GlyphAdvance(r)
		if remaining -= advance; remaining < 0 {
			return text[:end] + mark
		}
	}
	return text
}
