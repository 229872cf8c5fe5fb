# frozen_string_literal: true

# What a subclass of one of Fluentd's outputs needs.

module Logship
  module Subclass
    # Fluentd looks for `format` and `write` in a subclass itself only.
    def implement?(feature)
      %i[buffered custom_format].include?(feature)
    end
  end
end
