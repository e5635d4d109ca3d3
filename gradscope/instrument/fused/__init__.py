"""nn.RNN, nn.GRU and nn.LSTM: what their fused functions were given, and what came of it at each time."""
