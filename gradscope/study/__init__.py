"""The engine of a study: a TOML file, a grid of trials, one comparison at the end.

Why trials of one cell are not trained as one batched program: it was measured. On one processor, against PyTorch's
fused modules one trial after the other (adding problem, 100 times, forward, backward and Adam, nothing recorded), a
loop of batched matrix products over 12 trials is as many times as fast:

    16 sequences, 32 units     rnn_tanh 7.2    gru 5.0    lstm 1.1
    32 sequences, 64 units     rnn_tanh 2.8    gru 2.1    lstm 0.7

Small plain cells win, since a fused module spends its time between kernels; an LSTM has one kernel for all times, and
loses. By the time that trials take, that comes to at most 2.7 over the default `vanishing`, where nothing were recorded
and every batch full, and to 1.8 over the adding problem's half of `vanishing --full`. It was left out, for it does not
stay simple: what a study watches would be a loop written for it, and no longer the torch.nn.RNN, LSTM and GRU that its
reader trains; recording, clipping and optimisers would all need a second form, of many trials at once; a trial would
share its fate with eleven others, from a divergence to a killed worker. Processors are had more simply, by --workers.
"""
