"""What one time of each recurrent cell is: its gates, its local derivatives, its initialisations."""
