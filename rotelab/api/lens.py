"""The logit lens over one prompt: what each layer would say after each of its tokens.

The model's final norm and head are applied to every hidden state (nostalgebraist 2020,
"interpreting GPT: the logit lens"), as `evaluation.logit_lens` does at a prompt's last token.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import torch

from rotelab.api.frames import frame
from rotelab.api.hooks import hooked
from rotelab.config.names import Checkpoint, checkpoint_name
from rotelab.reports.figures.style import checkpoint_colour, styled, translucent

if TYPE_CHECKING:
    import pandas as pd

    from rotelab.registry import RunRow
    from rotelab.runs.lab import Lab


class PromptLens:
    """What each layer would say next after each token of a prompt, as `Run.lens` gives it.

    Args:
        prompt: the prompt.
        checkpoint: of which model.
        tokens: the prompt's tokens, as text.
        top: `[layers + 1][tokens]`: the likeliest next token; layer 0 is the embedding, the last
            layer is what the model says.
        probability: `[layers + 1][tokens]`: its probability, 0 to 1.
    """

    def __init__(
        self,
        prompt: str,
        checkpoint: Checkpoint,
        tokens: list[str],
        top: list[list[str]],
        probability: list[list[float]],
    ):
        self.prompt, self.checkpoint, self.tokens = prompt, checkpoint, tokens
        self.top, self.probability = top, probability

    @property
    def table(self) -> pd.DataFrame:
        """One row for each layer and token: `layer`, `position`, `token`, `top`, `probability`."""
        rows = [
            (layer, place, token, self.top[layer][place], self.probability[layer][place])
            for layer in range(len(self.top))
            for place, token in enumerate(self.tokens)
        ]
        return frame(("layer", "position", "token", "top", "probability"), rows)

    def figure(self) -> go.Figure:
        """A cell for each layer and token with what the layer would say; surer ones are darker."""
        colour = checkpoint_colour(self.checkpoint)
        figure = go.Figure(
            go.Heatmap(
                z=self.probability,
                text=[[_shown(token) for token in row] for row in self.top],
                texttemplate="%{text}",
                hovertemplate="layer %{y}: %{text}, %{z:.1%}<extra></extra>",
                zmin=0,
                zmax=1,
                xgap=2,
                ygap=2,
                colorscale=[[0, "rgba(128,140,160,0.16)"], [1, translucent(colour, 0.75)]],
                showscale=False,
            )
        )
        styled(figure, 200 + 24 * len(self.top))
        places = list(range(len(self.tokens)))
        words = [_shown(token) for token in self.tokens]
        figure.update_xaxes(tickvals=places, ticktext=words, showgrid=False, zeroline=False)
        figure.update_yaxes(title_text="layer (0 = input)", dtick=1, showgrid=False, zeroline=False)
        return figure

    def __repr__(self) -> str:
        return f"<rotelab logit lens of {self.prompt!r}, {self.checkpoint}>"

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(_shown(token))}</th>" for token in self.tokens)
        rows = ""
        for layer in reversed(range(len(self.top))):  # the last layer, what is said, on top
            pairs = zip(self.top[layer], self.probability[layer], strict=True)
            cells = "".join(
                f"<td title='{share:.1%}' style='background: rgba(31, 134, 201, {share:.2f})'>"
                f"{escape(_shown(token))}</td>"
                for token, share in pairs
            )
            rows += f"<tr><th>{layer}</th>{cells}</tr>"
        title = f"{self.prompt} – {checkpoint_name(self.checkpoint).long}"
        return f"<p><b>{escape(title)}</b></p><table><tr><th></th>{heads}</tr>{rows}</table>"


def prompt_lens(lab: Lab, run: RunRow, prompt: str, checkpoint: Checkpoint) -> PromptLens:
    """Reads every hidden state of a prompt through the model's head; see `Run.lens`.

    Raises:
        LabError: the run has no such checkpoint on this machine, or the model can't be loaded.
    """
    with hooked(lab, run, checkpoint) as model, torch.inference_mode():
        ids = model.encode(prompt)
        states = model.model(ids, output_hidden_states=True).hidden_states
        top, probability = [], []
        for layer, state in enumerate(states):
            # transformers gives the last layer's states with the final norm applied.
            last = layer == len(states) - 1
            rows = state[0] if last else model.lab_model.final_norm(state[0])
            shares = model.lab_model.read_out(rows).float().softmax(-1)
            best = shares.max(-1)
            top.append([model.decode([token]) for token in best.indices.tolist()])
            probability.append(best.values.tolist())
        tokens = [model.decode([token]) for token in ids[0].tolist()]
    return PromptLens(prompt, checkpoint, tokens, top, probability)


def _shown(token: str) -> str:
    """A token with its blanks and line breaks made visible at its ends."""
    bare = token.strip()
    return bare or repr(token).strip("'")
