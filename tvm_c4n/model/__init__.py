"""Language models: what they are made of, and the slow one that every fast one is compared with.

Axis letters, used in every docstring of this package, with the symbols of "Mamba: Linear-Time
Sequence Modeling with Selective State Spaces" (Gu and Dao, 2023):

====== ====================== ==================================================================
letter paper                  meaning
====== ====================== ==================================================================
``b``  B                      windows (sequences) computed together
``t``  L                      tokens, in time
``v``                         vocabulary entries
``h``  D of the residual      hidden channels: d_model (``hidden_size`` in config.json)
``d``  D of the SSM           inner channels: d_inner (``intermediate_size``)
``n``  N                      state elements per inner channel: d_state (``state_size``)
``r``  R                      rank of the step size's projection: dt_rank (``time_step_rank``)
``k``                         taps of the causal convolution: d_conv (``conv_kernel``)
====== ====================== ==================================================================

Tensors: ``delta`` (the paper's capital delta, per ``d``), ``a`` (A, ``d n``, negative), ``b`` and
``c`` (B and C, per token ``n``), ``skip`` (D, per ``d``), ``x`` (input of the SSM, ``d``), ``z``
(the gate, ``d``), ``y`` (output of the SSM). One step of the recurrence is

    state <- exp(delta * a) * state + (delta * x) * b        y = <state, c> + skip * x

"C4n n" counts removed weights of each 4; it is unrelated to the axis ``n``.
"""

from tvm_c4n.model.description import ModelConfig
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.reference import Reference

__all__ = ["ModelConfig", "Reference", "describe_model"]
